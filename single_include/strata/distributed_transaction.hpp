// Generated from include/strata/distributed_transaction.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_DISTRIBUTED_TRANSACTION_HPP
#define STRATA_SINGLE_DISTRIBUTED_TRANSACTION_HPP

#include <strata/strata.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/crc.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

// The file of a decision log: locked, replaced as a whole, or appended to, each durably or not at all. POSIX.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LOG_FILE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LOG_FILE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// An open descriptor, closed at the end.
class file_handle {
public:
    file_handle() noexcept = default;
    explicit file_handle(int fd) noexcept : fd_(fd) {}
    file_handle(file_handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    file_handle& operator=(file_handle&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~file_handle() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_ = -1;
};

[[nodiscard]] STRATA_COLD inline errc condition_of_file(int code) noexcept {
    switch (code) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return errc::disk_full;
        case EROFS:
            return errc::read_only;
        case EACCES:
        case EPERM:
            return errc::permission_denied;
        case ENOMEM:
            return errc::out_of_memory;
        default:
            return errc::io_error;
    }
}

/// `what`: "cannot be written". `code`: of errno. Without memory the error has no texts: what is to be done after it is done.
[[nodiscard]] STRATA_COLD inline error file_error(const std::string& path, std::string_view what, int code) noexcept {
    try {
        error e{condition_of_file(code), joined({"the decision log '", path, "' ", what, ": ", std::generic_category().message(code)}),
                phase::commit};
        e.edit_texts().native_code = digits_of(code);
        return e;
    } catch (...) {
        return error{condition_of_file(code), phase::commit};
    }
}

/// The file, open for appending; what it holds lies behind `path` only as a whole.
class log_file {
public:
    /// Nobody else opens it while this lives: `busy`. A child that was forked keeps the lock until it ends or executes another program.
    [[nodiscard]] error lock(const std::string& path) {
        path_ = path;
        const std::size_t slash = path.rfind('/');
        folder_ = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
        const std::string name = path + ".lock";
        file_handle lock{::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
        if (!lock) return file_error(name, "cannot be opened", errno);
        if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return file_error(name, "cannot be locked", errno);
            error e{errc::busy, joined({"the decision log '", path, "' is used by another coordinator, here or in another process"}),
                    phase::admission};
            e.edit_texts().hint = "give each coordinator a log of its own, and end the old process before a new one begins";
            return e;
        }
        lock_ = std::move(lock);
        return {};
    }

    /// All of it; `there` is false where there is no such file.
    [[nodiscard]] error read(std::string& bytes, bool& there) const {
        const file_handle in{::open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
        there = static_cast<bool>(in);
        if (!in) return errno == ENOENT ? error{} : file_error(path_, "cannot be opened", errno);
        char buffer[16 * 1024];
        for (;;) {
            const ::ssize_t n = ::read(in.get(), buffer, sizeof buffer);
            if (n == 0) return {};
            if (n > 0)
                bytes.append(buffer, static_cast<std::size_t>(n));
            else if (errno != EINTR)
                return file_error(path_, "cannot be read", errno);
        }
    }

    /// Puts another file in its place, which holds these bytes and is appended to from now on. After an error it is as it was, unless
    /// `is_broken()`.
    [[nodiscard]] error replace(std::string_view bytes) {
        const std::string name = path_ + ".new";
        file_handle out{::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        if (!out) return file_error(name, "cannot be created", errno);
        if (!write_at(out.get(), 0, bytes) || ::fsync(out.get()) != 0 || ::rename(name.c_str(), path_.c_str()) != 0) {
            error e = file_error(name, "cannot be written", errno);
            ::unlink(name.c_str());
            return e;
        }
        out_ = std::move(out);
        size_ = bytes.size();
        if (sync_folder()) return {};
        broken_ = true;  // after a crash the old file might be there again
        return file_error(path_, "cannot be made durable in its folder", errno).set(effect::unknown);
    }

    /// Durable when it returns without an error. After an error there is nothing of it; but where even that is unknown the effect is
    /// `unknown`, and the file `is_broken()`.
    [[nodiscard]] error append(std::string_view bytes) {
        if (broken_) return broken();
        if (write_at(out_.get(), size_, bytes) && ::fdatasync(out_.get()) == 0) {
            size_ += bytes.size();
            return {};
        }
        const int why = errno;
        broken_ = ::ftruncate(out_.get(), static_cast<::off_t>(size_)) != 0 || ::fdatasync(out_.get()) != 0;
        error e = file_error(path_, "cannot be written", why);
        return broken_ ? e.set(effect::unknown) : std::move(e);
    }
    /// The same, but it may be lost with the machine.
    void append_carelessly(std::string_view bytes) noexcept {
        if (!broken_ && write_at(out_.get(), size_, bytes)) size_ += bytes.size();
    }

    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] STRATA_COLD error broken() const {
        error e{errc::io_error, joined({"the decision log '", path_, "' failed before, so that nobody knows what it holds"}),
                phase::commit};
        e.edit_texts().hint = "mend the disk, start the process again, and let it recover";
        return e;
    }

private:
    [[nodiscard]] static bool write_at(int fd, std::size_t at, std::string_view bytes) noexcept {
        while (!bytes.empty()) {
            const ::ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<::off_t>(at));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;
            at += static_cast<std::size_t>(n);
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    [[nodiscard]] bool sync_folder() const noexcept {
        const file_handle folder{::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        return folder && ::fsync(folder.get()) == 0;
    }

    std::string path_;
    std::string folder_;
    file_handle lock_;
    file_handle out_;
    std::size_t size_ = 0;
    bool broken_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a coordinator of distributed transactions decides and remembers, and how that is written as bytes.
//
// The bytes are the same in a decision log and in the table of an SQLite file that decides: numbers least byte first, texts behind
// their length. Read within their bounds, whatever they are.
#ifndef STRATA_TRANSACTION_TWO_PHASE_DECISION_HPP
#define STRATA_TRANSACTION_TWO_PHASE_DECISION_HPP

namespace strata::inline STRATA_ABI {

/// One distributed transaction of a coordinator: the opening of its log, and a number since then. No two are ever equal.
struct transaction_number {
    std::uint32_t opening = 0;
    std::uint64_t number = 0;
    friend auto operator<=>(const transaction_number&, const transaction_number&) = default;
};

/// A database, whatever its address is today: its server's system identifier and its oid there.
struct database_identity {
    std::uint64_t server = 0;
    std::uint64_t database = 0;
    friend bool operator==(const database_identity&, const database_identity&) = default;
};

/// The part of a distributed transaction that was prepared in one database.
struct prepared_branch {
    std::uint32_t branch = 0;  ///< which participant it was, from 0
    database_identity where;
    std::uint64_t transaction_id = 0;  ///< the database's own number of it
    friend bool operator==(const prepared_branch&, const prepared_branch&) = default;
};

/// That a transaction is committed: each of its branches must be, now or later.
struct decision {
    transaction_number id;
    std::vector<prepared_branch> branches;
    friend bool operator==(const decision&, const decision&) = default;
};

/// Somebody ended a prepared branch by hand, and not as the coordinator had decided: its transaction took place in part.
struct heuristic_outcome {
    transaction_number id;
    prepared_branch branch;
    bool committed = false;  ///< the branch was committed and the others rolled back; false: the other way round
    friend bool operator==(const heuristic_outcome&, const heuristic_outcome&) = default;
};

namespace detail {

class byte_writer {
public:
    explicit byte_writer(std::string& out) noexcept : out_(out) {}
    template <std::unsigned_integral T>
    void number(T n) {
        for (std::size_t i = 0; i < sizeof(T); ++i) out_ += static_cast<char>(static_cast<unsigned char>(n >> (8 * i)));
    }
    void text(std::string_view s) {
        number(static_cast<std::uint32_t>(s.size()));
        out_ += s;
    }

private:
    std::string& out_;
};

/// Reads what is there, and zeros beyond; `whole()` tells whether the bytes were what was asked for, and no more.
class byte_reader {
public:
    explicit byte_reader(std::string_view bytes) noexcept : rest_(bytes) {}
    template <std::unsigned_integral T>
    void number(T& n) noexcept {
        n = 0;
        const std::string_view bytes = take(sizeof(T));
        for (std::size_t i = 0; i < bytes.size(); ++i)
            n = static_cast<T>(n | static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    }
    void text(std::string& s) {
        std::uint32_t size = 0;
        number(size);
        s = take(size);
    }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
    [[nodiscard]] bool whole() const noexcept { return !short_ && rest_.empty(); }

private:
    [[nodiscard]] std::string_view take(std::size_t n) noexcept {
        short_ = short_ || n > rest_.size();
        if (short_) return {};
        const std::string_view taken = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return taken;
    }

    std::string_view rest_;
    bool short_ = false;
};

/// One order of the fields for both ways: `visit` is a writer or a reader.
template <class Visit, class Id>
void visit_fields(Visit&& visit, Id& id)
    requires std::same_as<std::remove_const_t<Id>, transaction_number>
{
    visit.number(id.opening);
    visit.number(id.number);
}
template <class Visit, class Branch>
void visit_fields(Visit&& visit, Branch& b)
    requires std::same_as<std::remove_const_t<Branch>, prepared_branch>
{
    visit.number(b.branch);
    visit.number(b.where.server);
    visit.number(b.where.database);
    visit.number(b.transaction_id);
}
inline constexpr std::size_t branch_bytes = 28;

inline void write_decision(std::string& out, const decision& d) {
    byte_writer w{out};
    visit_fields(w, d.id);
    w.number(static_cast<std::uint32_t>(d.branches.size()));
    for (const prepared_branch& b : d.branches) visit_fields(w, b);
}
[[nodiscard]] inline bool read_decision(std::string_view bytes, decision& d) {
    byte_reader r{bytes};
    std::uint32_t count = 0;
    visit_fields(r, d.id);
    r.number(count);
    if (r.left() != count * branch_bytes) return false;
    d.branches.resize(count);
    for (prepared_branch& b : d.branches) visit_fields(r, b);
    return r.whole();
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Records in a file that only grows, and what a crash or a bad disk may have made of them.
//
//   length (4 bytes), CRC-32 of the content, CRC-32 of these two, content, a mark          numbers least byte first
//
// A write that a crash has cut short leaves a file that ends within its record, or zeros where sectors were not written: a torn tail,
// which was never acknowledged and is dropped. Anything else that does not fit is damage to what was acknowledged, and never passed
// over: the length has a CRC of its own, so that a wrong one cannot look like a file that ends too early, and no record ends with zeros,
// so that a whole one cannot look like one that was not written to its end.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LOG_RECORDS_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LOG_RECORDS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] inline std::uint32_t crc_of(std::string_view bytes) noexcept {
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    return crc.checksum();
}

inline constexpr std::size_t record_head = 12;
inline constexpr char record_mark = 'Z';

/// `content`: less than 4 GiB.
inline void append_record(std::string& out, std::string_view content) {
    const std::size_t begin = out.size();
    byte_writer w{out};
    w.number(static_cast<std::uint32_t>(content.size()));
    w.number(crc_of(content));
    w.number(crc_of(std::string_view{out}.substr(begin, 8)));
    out += content;
    out += record_mark;
}

/// What stands at a place of the file.
enum class log_place : std::uint8_t { record, end, torn, corrupt };

/// The records of a file one by one.
class record_reader {
public:
    explicit record_reader(std::string_view file) noexcept : file_(file) {}

    /// `record` with its content, or how the file ends; then it is not asked again.
    [[nodiscard]] log_place next(std::string_view& content) noexcept {
        const std::string_view rest = file_.substr(at_);
        if (rest.empty()) return log_place::end;
        if (rest.size() < record_head) return log_place::torn;
        byte_reader r{rest.substr(0, record_head)};
        std::uint32_t length = 0, crc = 0, head_crc = 0;
        r.number(length);
        r.number(crc);
        r.number(head_crc);
        if (head_crc != crc_of(rest.substr(0, 8))) return torn_or_corrupt(record_head);
        const std::size_t size = record_head + length + 1;
        if (rest.size() < size) return log_place::torn;
        content = rest.substr(record_head, length);
        if (crc != crc_of(content) || rest[size - 1] != record_mark) return torn_or_corrupt(size);
        at_ += size;
        return log_place::record;
    }
    /// Where the next record begins: after `torn` and `corrupt`, the one that is not right.
    [[nodiscard]] std::size_t offset() const noexcept { return at_; }

private:
    /// Sectors that were never written are zero up to the end of the file, from the record on or from a sector's beginning within it.
    [[nodiscard]] log_place torn_or_corrupt(std::size_t size) const noexcept {
        constexpr std::size_t sector = 512;
        const std::size_t last = file_.find_last_not_of('\0');
        const std::size_t zeros = last == file_.npos ? 0 : last + 1;
        const std::size_t next_sector = std::max(zeros, at_ + 1) + sector - 1;
        const bool torn = zeros <= at_ || next_sector - next_sector % sector < std::min(at_ + size, file_.size());
        return torn ? log_place::torn : log_place::corrupt;
    }

    std::string_view file_;
    std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The durable memory of a coordinator: which distributed transactions are committed and not yet so everywhere.
//
// Its file begins with whose it is: the coordinator's name, a random identity made with the file, and how often it was opened. Then come
// decisions, each durable before the first branch is committed, what was forgotten since, and what somebody did by hand. Opening it
// writes it anew without what was forgotten, and so does growing; the file is replaced as a whole, so it never lacks its beginning.
// What is forgotten is written with the next decision, in the same write: one write and one fdatasync a transaction.
#ifndef STRATA_TRANSACTION_TWO_PHASE_DECISION_LOG_HPP
#define STRATA_TRANSACTION_TWO_PHASE_DECISION_LOG_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// From the system; never 0.
[[nodiscard]] inline std::uint64_t random_identity() {
    std::random_device device;
    std::uint64_t n = 0;
    while (n == 0) n = std::uint64_t{device()} << 32 | device();
    return n;
}

}  // namespace detail

/// Thread-safe. One object, in one process, has a log open at a time.
class decision_log {
public:
    /// Opens the log at `path`, or makes it; its folder must be there. `name`: of the coordinator, which the file keeps. Throws `failure`:
    /// `busy` (another has it open), `corrupt` (with the byte), `misuse` (another coordinator's), and what the file system says.
    decision_log(const std::string& path, const std::string& name) {
        if (error e = open(path, name)) throw_failure(std::move(e));
    }
    decision_log(const decision_log&) = delete;
    decision_log& operator=(const decision_log&) = delete;
    ~decision_log() {
        if (!process_.is_forked_child()) file_.append_carelessly(forgotten_);
    }

    /// Random, made with the file: another file of the same name is another coordinator.
    [[nodiscard]] std::uint64_t identity() const noexcept { return identity_; }
    /// How often the file was opened, from 1.
    [[nodiscard]] std::uint32_t opening() const noexcept { return opening_; }

    /// That the transaction is committed. Durable when it returns without an error. After an error it is not decided; but where the effect
    /// is `unknown` nobody knows before the log is opened anew.
    [[nodiscard]] error decide(const decision& d) {
        const std::lock_guard guard(lock_);
        if (error e = usable()) return e;
        std::string content{decided};
        detail::write_decision(content, d);
        std::string bytes = forgotten_;
        detail::append_record(bytes, content);
        const auto at = live_.insert_or_assign(d.id, d).first;
        if (error e = file_.append(bytes)) {
            if (e.effect() != effect::unknown) live_.erase(at);
            return e;
        }
        forgotten_.clear();
        compact();
        return {};
    }
    /// Every branch is committed, or as good as. Written some time later: until then recovery would find that out again.
    void forget(const transaction_number& id) {
        const std::lock_guard guard(lock_);
        if (live_.erase(id) == 0) return;
        std::string content{was_forgotten};
        detail::byte_writer w{content};
        detail::visit_fields(w, id);
        detail::append_record(forgotten_, content);
        if (live_.empty() || forgotten_.size() > compact_from) compact();
    }
    /// Keeps what somebody did by hand until it is acknowledged. Durable when it returns without an error.
    [[nodiscard]] error note(const heuristic_outcome& h) {
        const std::lock_guard guard(lock_);
        if (error e = usable()) return e;
        for (const heuristic_outcome& known : heuristics_)
            if (known == h) return {};
        std::string bytes = forgotten_;
        detail::append_record(bytes, content_of(h));
        heuristics_.push_back(h);
        if (error e = file_.append(bytes)) {
            heuristics_.pop_back();
            return e;
        }
        forgotten_.clear();
        return {};
    }
    /// Drops these notes: somebody has looked at them.
    [[nodiscard]] error acknowledge_heuristics() {
        const std::lock_guard guard(lock_);
        if (error e = usable()) return e;
        std::vector<heuristic_outcome> before = std::move(heuristics_);
        heuristics_.clear();
        error e = write_anew();
        if (e) heuristics_ = std::move(before);
        return e;
    }

    /// Writes what was forgotten, so that the file says no more than it must. A failure changes nothing.
    void tidy() {
        const std::lock_guard guard(lock_);
        if (!forgotten_.empty() && !usable()) static_cast<void>(write_anew());
    }

    [[nodiscard]] std::optional<decision> find(const transaction_number& id) const {
        const std::lock_guard guard(lock_);
        const auto at = live_.find(id);
        return at == live_.end() ? std::nullopt : std::optional{at->second};
    }
    /// What is decided and not forgotten, the oldest first.
    [[nodiscard]] std::vector<decision> decisions() const {
        const std::lock_guard guard(lock_);
        std::vector<decision> all;
        for (const auto& [id, d] : live_) all.push_back(d);
        return all;
    }
    [[nodiscard]] std::vector<heuristic_outcome> heuristics() const {
        const std::lock_guard guard(lock_);
        return heuristics_;
    }
    /// Why nothing can be decided, or nothing.
    [[nodiscard]] error check() const {
        const std::lock_guard guard(lock_);
        return usable();
    }
    /// Of the file, in bytes.
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard guard(lock_);
        return file_.size();
    }

private:
    // The first byte of a record's content.
    static constexpr std::string_view whose = "H", decided = "D", was_forgotten = "F", by_hand = "X";
    static constexpr std::string_view mark = "strata decision log 1";
    static constexpr std::size_t compact_from = 64 * 1024;

    [[nodiscard]] error usable() const {
        if (process_.is_forked_child())
            return {errc::misuse, "a forked child cannot use its parent's coordinator: open one after the fork", phase::admission};
        return file_.is_broken() ? file_.broken() : error{};
    }

    [[nodiscard]] error open(const std::string& path, const std::string& name) {
        if (error e = file_.lock(path)) return e;
        std::string bytes;
        bool there = false;
        if (error e = file_.read(bytes, there)) return e;
        name_ = name;
        if (!there)
            identity_ = detail::random_identity();
        else if (error e = read(bytes))
            return e;
        if (name_ != name) {
            error e{errc::misuse,
                    detail::joined({"the decision log '", path, "' belongs to the coordinator '", name_, "', not to '", name, "'"}),
                    phase::admission};
            e.edit_texts().hint = "give each coordinator a log of its own";
            return e;
        }
        ++opening_;
        return write_anew();
    }

    [[nodiscard]] error read(std::string_view bytes) {
        detail::record_reader records{bytes};
        for (bool first = true;; first = false) {
            const std::size_t at = records.offset();
            std::string_view content;
            const detail::log_place place = records.next(content);
            const bool tail = place == detail::log_place::end || place == detail::log_place::torn;
            if (tail && !first) return {};
            if (place != detail::log_place::record || !(first ? take_beginning(content) : take(content))) return corrupt(at, first);
        }
    }
    [[nodiscard]] bool take_beginning(std::string_view content) {
        if (!content.starts_with(whose)) return false;
        detail::byte_reader r{content.substr(1)};
        std::string format;
        r.text(format);
        r.text(name_);
        r.number(identity_);
        r.number(opening_);
        return r.whole() && format == mark;
    }
    [[nodiscard]] bool take(std::string_view content) {
        const std::string_view kind = content.substr(0, 1), rest = content.substr(content.empty() ? 0 : 1);
        if (kind == decided) {
            decision d;
            if (!detail::read_decision(rest, d)) return false;
            live_.insert_or_assign(d.id, std::move(d));
            return true;
        }
        detail::byte_reader r{rest};
        if (kind == was_forgotten) {
            transaction_number id;
            detail::visit_fields(r, id);
            live_.erase(id);
            return r.whole();
        }
        heuristic_outcome h;
        std::uint8_t committed = 0;
        detail::visit_fields(r, h.id);
        detail::visit_fields(r, h.branch);
        r.number(committed);
        h.committed = committed != 0;
        heuristics_.push_back(h);
        return kind == by_hand && r.whole();
    }
    [[nodiscard]] STRATA_COLD error corrupt(std::size_t at, bool beginning) const {
        error e{errc::corrupt,
                detail::joined({"the decision log '", file_.path(), "' is damaged at byte ", detail::digits_of(at),
                                beginning ? ", where it says whose it is" : ", behind what was acknowledged"}),
                phase::admission};
        error_texts& t = e.edit_texts();
        t.position = static_cast<std::int64_t>(at);
        t.hint =
            "restore the file from the same disk's redundancy, never from an older copy; failing that, end by hand what pg_prepared_xacts "
            "lists of this coordinator, in every database the same way, and only then remove the file";
        return e;
    }

    [[nodiscard]] static std::string content_of(const heuristic_outcome& h) {
        std::string content{by_hand};
        detail::byte_writer w{content};
        detail::visit_fields(w, h.id);
        detail::visit_fields(w, h.branch);
        w.number(static_cast<std::uint8_t>(h.committed ? 1 : 0));
        return content;
    }
    /// The file as short as it can be.
    [[nodiscard]] error write_anew() {
        std::string bytes, content{whose};
        detail::byte_writer w{content};
        w.text(mark);
        w.text(name_);
        w.number(identity_);
        w.number(opening_);
        detail::append_record(bytes, content);
        for (const auto& [id, d] : live_) {
            content = decided;
            detail::write_decision(content, d);
            detail::append_record(bytes, content);
        }
        for (const heuristic_outcome& h : heuristics_) detail::append_record(bytes, content_of(h));
        if (error e = file_.replace(bytes)) return e;
        forgotten_.clear();
        compact_at_ = std::max(compact_from, 2 * file_.size());
        return {};
    }
    /// Where it has grown: a failure changes nothing, but that it is tried again when it has doubled.
    void compact() noexcept {
        if (file_.size() + forgotten_.size() < compact_at_ || file_.is_broken()) return;
        try {
            if (!write_anew()) return;
        } catch (...) {  // no memory
        }
        compact_at_ *= 2;
    }

    mutable std::mutex lock_;
    detail::log_file file_;
    std::string name_;
    std::uint64_t identity_ = 0;
    std::uint32_t opening_ = 0;
    std::map<transaction_number, decision> live_;
    std::vector<heuristic_outcome> heuristics_;
    std::string forgotten_;  // records that are not written yet
    std::size_t compact_at_ = 0;
    fork_guard process_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The name under which a branch of a distributed transaction is prepared in its database.
//
//   strata:bank-transfers:6b1c0f0e5a7d4c21:3.1047.0            coordinator's name and log, opening, number, branch
//   strata:bank-transfers:6b1c0f0e5a7d4c21:3.1048.1:09d3...    its decision stands in the SQLite file of this identity
//
// At most 150 of PostgreSQL's 199 bytes, and no character that would have to be quoted.
#ifndef STRATA_TRANSACTION_TWO_PHASE_GLOBAL_ID_HPP
#define STRATA_TRANSACTION_TWO_PHASE_GLOBAL_ID_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Of every coordinator.
inline constexpr std::string_view global_prefix = "strata:";

/// 16 digits, the same for the same number.
[[nodiscard]] inline std::string hex_of(std::uint64_t n) {
    std::string s(16, '0');
    for (std::size_t i = 16; i-- > 0; n >>= 4) s[i] = "0123456789abcdef"[n & 15];
    return s;
}

[[nodiscard]] inline std::string decimal_of(std::uint64_t n) {
    std::string s;
    do s.insert(s.begin(), static_cast<char>('0' + n % 10));
    while ((n /= 10) != 0);
    return s;
}

struct global_id {
    transaction_number id;
    std::uint32_t branch = 0;
    std::uint64_t last_resource = 0;  ///< 0: the coordinator's log decides

    /// `coordinator`: what all its ids begin with, up to the last colon.
    [[nodiscard]] std::string to_string(std::string_view coordinator) const {
        std::string s{coordinator};
        s.append(decimal_of(id.opening)).append(".").append(decimal_of(id.number)).append(".").append(decimal_of(branch));
        if (last_resource != 0) s.append(":").append(hex_of(last_resource));
        return s;
    }

    /// Nothing for what this coordinator cannot have written.
    [[nodiscard]] static std::optional<global_id> read(std::string_view text, std::string_view coordinator) {
        if (!text.starts_with(coordinator)) return std::nullopt;
        std::string_view rest = text.substr(coordinator.size());
        global_id g;
        g.id.opening = static_cast<std::uint32_t>(number(rest, 10));
        skip(rest, '.');
        g.id.number = number(rest, 10);
        skip(rest, '.');
        g.branch = static_cast<std::uint32_t>(number(rest, 10));
        if (skip(rest, ':')) g.last_resource = number(rest, 16);
        return g.to_string(coordinator) == text ? std::optional{g} : std::nullopt;
    }

private:
    [[nodiscard]] static std::uint64_t number(std::string_view& rest, std::uint64_t base) noexcept {
        constexpr std::string_view digits = "0123456789abcdef";
        std::uint64_t n = 0;
        for (std::size_t digit = 0; !rest.empty() && (digit = digits.find(rest[0])) < base; rest.remove_prefix(1)) n = n * base + digit;
        return n;
    }
    static bool skip(std::string_view& rest, char c) noexcept {
        if (rest.empty() || rest[0] != c) return false;
        rest.remove_prefix(1);
        return true;
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Two-phase commit as a pure state machine: it says what to do next, is told how that ended, and knows at the end what became of the
// transaction. It does nothing itself, so one form serves every drive and is tested with every failure at every step.
//
//   for (two_phase_order o = p.next(); o.step != two_phase_step::ended; o = p.next()) p.answer(perform(o));
//
// Presumed abort: a transaction whose decision was not written is rolled back, whoever finds its branches. Participants that wrote
// nothing are committed before anything is prepared; a single one that wrote is committed plainly.
#ifndef STRATA_TRANSACTION_TWO_PHASE_PROTOCOL_HPP
#define STRATA_TRANSACTION_TWO_PHASE_PROTOCOL_HPP

namespace strata::inline STRATA_ABI {

/// One thing that is done for a distributed transaction.
enum class two_phase_step : std::uint8_t {
    begin,              ///< a transaction on a participant
    work,               ///< the caller's closure
    ask,                ///< a participant whether it has written
    commit,             ///< a participant, plainly: it alone has written, or nothing; or it is the last resource, which decides
    roll_back,          ///< a participant
    prepare,            ///< a branch; from here on it outlives its connection
    note_decision,      ///< in the last resource's transaction, whose commit makes it count
    decide,             ///< durably, in the coordinator's log: from here on it is committed
    commit_prepared,    ///< a branch
    rollback_prepared,  ///< a branch
    complete,           ///< `commit_prepared` on another connection, after it failed
    discard,            ///< `rollback_prepared` on another connection, where a branch may have been prepared
    forget,             ///< the decision
    ended
};

[[nodiscard]] constexpr std::string_view to_string(two_phase_step s) noexcept {
    constexpr std::string_view names[] = {"begin",
                                          "work",
                                          "ask",
                                          "commit",
                                          "roll_back",
                                          "prepare",
                                          "note_decision",
                                          "decide",
                                          "commit_prepared",
                                          "rollback_prepared",
                                          "complete",
                                          "discard",
                                          "forget",
                                          "ended"};
    return names[static_cast<std::size_t>(s)];
}

namespace detail {

struct two_phase_order {
    two_phase_step step;
    std::size_t participant = 0;  ///< of those that have one
};

class two_phase_protocol {
public:
    static constexpr std::size_t none = ~std::size_t{0};

    /// `participants` have begun and the caller's work is done. `last_resource`: the one that cannot prepare, or `none`. `why`: an error
    /// with which everything is rolled back.
    two_phase_protocol(std::size_t participants, std::size_t last_resource, error why)
        : branches_(participants, branch::open), last_(last_resource) {
        if (why) abort(std::move(why));
    }

    [[nodiscard]] two_phase_order next() noexcept {
        for (;; ++at_) {
            if (at_ == branches_.size()) {
                at_ = 0;
                if (!enter_next_stage()) return {two_phase_step::ended};
            }
            if (stage_ == stage::deciding) return {two_phase_step::decide};
            if (stage_ == stage::forgetting) return {two_phase_step::forget};
            const two_phase_step s = step_of(at_);
            if (s != two_phase_step::ended) return {s, at_};
        }
    }

    /// How the last order ended. Of `ask`, `wrote` says what was asked. Lost: the connection is; the server may have done it all the same.
    void answer(error e, bool wrote = true) {
        branch& b = branches_[at_];
        switch (stage_) {
            case stage::asking:
                b = wrote ? branch::wrote : branch::only_read;
                if (e) return abort(std::move(e));
                break;
            case stage::reading:
                b = branch::done;
                if (e) return abort(std::move(e));
                break;
            case stage::alone:
                b = branch::done;
                result_ = std::move(e);
                break;
            case stage::preparing:
                b = !e ? branch::prepared : is_lost(e) ? branch::doubtful : branch::done;
                if (e) return abort(std::move(e));
                break;
            case stage::noting:
                if (e) return abort(std::move(e));
                break;
            case stage::deciding:
            case stage::committing_last:
                if (stage_ == stage::committing_last) b = branch::done;
                if (e && e.effect() == effect::unknown) return leave_in_doubt(std::move(e));
                if (e) return abort(std::move(e));
                at_ = branches_.size();
                return;
            case stage::committing:
                b = e ? branch::pending : branch::done;
                break;
            case stage::completing:
                if (e)
                    fail_late(std::move(e));
                else
                    b = branch::done;
                break;
            case stage::aborting:
                b = b == branch::prepared && e ? branch::doubtful : branch::done;
                break;
            case stage::discarding:
                if (!e)
                    b = branch::done;
                else if (e.code() == errc::heuristic_outcome)
                    result_ = std::move(e);
                else
                    left_over_ = true;
                break;
            case stage::forgetting:
                at_ = branches_.size();
                return;
            case stage::ended:
                break;
        }
        ++at_;
    }

    /// Once it has ended: empty where the transaction is committed, and complete.
    [[nodiscard]] error result() && {
        if (left_over_) {
            std::string& detail = result_.edit_texts().detail;
            if (!detail.empty()) detail += "; ";
            detail += "a branch may still be prepared, and hold its locks until recover() rolls it back";
        }
        return std::move(result_);
    }

private:
    enum class branch : std::uint8_t {
        open,
        only_read,
        wrote,
        prepared,
        doubtful,  // perhaps prepared
        pending,   // to be committed on another connection
        done
    };
    enum class stage : std::uint8_t {
        asking,
        reading,
        alone,
        preparing,
        noting,
        deciding,
        committing_last,
        committing,
        completing,
        forgetting,
        aborting,
        discarding,
        ended
    };

    [[nodiscard]] two_phase_step step_of(std::size_t i) const noexcept {
        using enum two_phase_step;
        const branch b = branches_[i];
        const auto when = [](bool so, two_phase_step s) { return so ? s : ended; };
        switch (stage_) {
            case stage::asking:
                return when(i != last_, ask);
            case stage::reading:
                return when(b == branch::only_read, commit);
            case stage::alone:
                return when(b == branch::wrote, commit);
            case stage::preparing:
                return when(b == branch::wrote && i != last_, prepare);
            case stage::noting:
                return when(i == last_, note_decision);
            case stage::committing_last:
                return when(i == last_, commit);
            case stage::committing:
                return when(b == branch::prepared, commit_prepared);
            case stage::completing:
                return when(b == branch::pending, complete);
            case stage::aborting:
                return b == branch::prepared ? rollback_prepared : when(b != branch::done && b != branch::doubtful, roll_back);
            case stage::discarding:
                return when(b == branch::doubtful, discard);
            default:
                return ended;
        }
    }

    /// False at the end.
    [[nodiscard]] bool enter_next_stage() noexcept {
        switch (stage_) {
            case stage::asking:
                if (last_ != none) branches_[last_] = branch::wrote;  // whether it has written cannot be asked
                stage_ = stage::reading;
                break;
            case stage::reading: {
                std::size_t writers = 0;
                for (const branch b : branches_) writers += b == branch::wrote ? 1u : 0u;
                stage_ = writers == 0 ? stage::ended : writers == 1 ? stage::alone : stage::preparing;
                break;
            }
            case stage::preparing:
                stage_ = last_ == none ? stage::deciding : stage::noting;
                break;
            case stage::noting:
                stage_ = stage::committing_last;
                break;
            case stage::deciding:
            case stage::committing_last:
                stage_ = stage::committing;
                break;
            case stage::committing:
                stage_ = stage::completing;
                break;
            case stage::completing:
                stage_ = unfinished_ ? stage::ended : stage::forgetting;
                break;
            case stage::aborting:
                stage_ = stage::discarding;
                break;
            default:
                stage_ = stage::ended;
                break;
        }
        return stage_ != stage::ended;
    }

    [[nodiscard]] static bool is_lost(const error& e) noexcept { return e.health() >= health::lost || e.effect() == effect::unknown; }

    void abort(error why) noexcept {
        result_ = std::move(why.set(effect::rolled_back));
        stage_ = stage::aborting;
        at_ = 0;
    }
    void leave_in_doubt(error why) {
        why.set(errc::outcome_unknown).set(effect::unknown);
        why.edit_texts().hint = "it is committed or rolled back as a whole: recover() finds out which, once the log can be read";
        result_ = std::move(why);
        stage_ = stage::ended;
        at_ = branches_.size();
    }
    /// Decided, and yet a branch could not be committed.
    void fail_late(error why) {
        unfinished_ = unfinished_ || why.code() != errc::heuristic_outcome;
        if (result_.code() == errc::heuristic_outcome) return;
        if (why.code() != errc::heuristic_outcome) {
            error_texts& t = why.edit_texts();
            t.detail = joined({"the transaction is committed, but not yet so in every database: ", t.message});
            t.message = "a branch could not be reached to be committed";
            t.hint = "nothing is lost and nothing must be repeated: recover() completes it";
            why.set(errc::commit_pending);
        }
        result_ = std::move(why.set(effect::applied).set(health::good).set(phase::commit));
    }

    std::vector<branch> branches_;
    std::size_t last_;
    std::size_t at_ = 0;
    stage stage_ = stage::asking;
    bool unfinished_ = false;
    bool left_over_ = false;
    error result_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Who decides in distributed transactions, and remembers the decision: one object for a process, with a log of its own.
//
//   strata::transaction_coordinator coordinator{{.name = "transfers", .log = "/var/lib/bank/transfers.log"}};
#ifndef STRATA_TRANSACTION_TWO_PHASE_COORDINATOR_HPP
#define STRATA_TRANSACTION_TWO_PHASE_COORDINATOR_HPP

namespace strata::inline STRATA_ABI {

struct coordinator_options {
    std::string name;  ///< 1 to 64 letters, digits, `_`, `.` and `-`; part of what `pg_prepared_xacts` shows
    std::string log;   ///< path of the decision log, on a disk that keeps what was synced; its folder must be there
    /// Told what somebody ended by hand otherwise than it was decided, as soon as that is found out. It is kept in the log, too. What it
    /// throws is dropped: other branches are still to be ended.
    std::function<void(const heuristic_outcome&)> on_heuristic = {};
    /// For tests: called before and after each step of each transaction. What it throws ends the process.
    std::function<void(two_phase_step, std::size_t participant, bool done)> on_step = {};
};

/// Thread-safe. Outlives the `distributed_transaction`s that use it.
class transaction_coordinator {
public:
    /// Throws `failure`: `invalid_argument` for the options, and what opening the log gives (see `decision_log`): `busy` where another
    /// coordinator, here or in another process, uses it.
    explicit transaction_coordinator(coordinator_options o)
        : options_(checked(std::move(o))), log_(options_.log, options_.name),
          prefix_(detail::joined({detail::global_prefix, options_.name, ":", detail::hex_of(log_.identity()), ":"})) {}

    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    /// What was decided and is not known to be complete, without what is on its way in this process. One of whose databases nothing is
    /// left stays for ever: `log().forget(d.id)`.
    [[nodiscard]] std::vector<decision> pending() const {
        std::vector<decision> all = log_.decisions();
        std::erase_if(all, [&](const decision& d) { return is_in_flight(d.id); });
        return all;
    }
    /// What somebody has ended by hand otherwise than it was decided, since the last `acknowledge_heuristics`, which drops them.
    [[nodiscard]] std::vector<heuristic_outcome> heuristics() const { return log_.heuristics(); }
    void acknowledge_heuristics() {
        if (error e = log_.acknowledge_heuristics()) throw_failure(std::move(e));
    }

    /// With what the ids of its branches begin.
    [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }
    [[nodiscard]] decision_log& log() noexcept { return log_; }

    /// A number for as long as a transaction is on its way: recovery leaves its branches alone.
    class flight {
    public:
        explicit flight(transaction_coordinator& c) : coordinator_(c), id_(c.enter()) {}
        flight(const flight&) = delete;
        flight& operator=(const flight&) = delete;
        ~flight() { coordinator_.leave(id_); }
        [[nodiscard]] const transaction_number& id() const noexcept { return id_; }

    private:
        transaction_coordinator& coordinator_;
        transaction_number id_;
    };
    [[nodiscard]] bool is_in_flight(const transaction_number& id) const {
        const std::lock_guard guard(lock_);
        return id.opening == log_.opening() && in_flight_.contains(id.number);
    }

    void at_step(two_phase_step s, std::size_t participant, bool done) const noexcept {
        if (options_.on_step) options_.on_step(s, participant, done);
    }
    /// Keeps and tells it; an error where it could not be kept.
    [[nodiscard]] error found(const heuristic_outcome& h) {
        error e = log_.note(h);
        try {
            if (options_.on_heuristic) options_.on_heuristic(h);
        } catch (...) {
        }
        return e;
    }

private:
    [[nodiscard]] transaction_number enter() {
        const std::lock_guard guard(lock_);
        in_flight_.insert(next_);
        return {log_.opening(), next_++};
    }
    void leave(const transaction_number& id) noexcept {
        const std::lock_guard guard(lock_);
        in_flight_.erase(id.number);
    }
    [[nodiscard]] static coordinator_options checked(coordinator_options o) {
        bool right = !o.name.empty() && o.name.size() <= 64;
        for (const char c : o.name)
            right =
                right && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-');
        if (!right)
            throw_failure(
                {errc::invalid_argument, "coordinator_options.name must be 1 to 64 letters, digits, '_', '.' or '-'", phase::admission});
        if (o.log.empty())
            throw_failure(
                {errc::invalid_argument, "coordinator_options.log must name a file, which remembers what was decided", phase::admission});
        return o;
    }

    coordinator_options options_;
    decision_log log_;
    std::string prefix_;
    mutable std::mutex lock_;
    std::set<std::uint64_t> in_flight_;
    std::uint64_t next_ = 1;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What is asked of a database that can prepare transactions, and what it says of one that it has prepared.
#ifndef STRATA_TRANSACTION_TWO_PHASE_PREPARED_HPP
#define STRATA_TRANSACTION_TWO_PHASE_PREPARED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Its transactions can be prepared.
template <class Driver>
concept can_prepare = requires(std::string_view id) {
    Driver::two_phase::prepare(id);
    Driver::two_phase::commit(id);
    Driver::two_phase::roll_back(id);
};

/// Who the database is. Fails where it keeps no prepared transactions.
template <class Session>
[[nodiscard]] error ask_identity(Session& s, database_identity& who) {
    using namespace literals;
    constexpr auto ask =
        "select current_setting('max_prepared_transactions')::int8, (select system_identifier from pg_control_system()), "
        "(select oid::int8 from pg_database where datname = current_database())"_sql.named("strata two-phase identity");
    const auto said = s.template try_one<std::tuple<std::int64_t, std::int64_t, std::int64_t>>(ask());
    if (!said) return said.error();
    const auto& [most, server, database] = *said;
    if (most == 0) {
        error e{errc::unsupported, "the server prepares no transactions: max_prepared_transactions is 0", phase::admission};
        e.edit_texts().hint =
            "set max_prepared_transactions in postgresql.conf, on standbys too, to at least the distributed transactions that are on their "
            "way "
            "at once, max_connections being the usual number, and start the server again";
        return e;
    }
    who = {static_cast<std::uint64_t>(server), static_cast<std::uint64_t>(database)};
    return {};
}

[[nodiscard]] STRATA_COLD inline error other_database() {
    error e{errc::cannot_connect, "the address leads to another database than at the start, where the branch is not", phase::admission};
    e.edit_texts().hint = "lead it back; for databases that were moved for good make a new distributed_transaction";
    return e;
}
/// Whether the address still leads there: what another database says of a branch would be about a stranger's.
template <class Session>
[[nodiscard]] error check_identity(Session& s, const database_identity& known) {
    database_identity now;
    if (error e = ask_identity(s, now)) return e;
    return now == known ? error{} : other_database();
}

/// The number that the open transaction has if it has written anything. Fails where it is in another database than `known`.
template <class Transaction>
[[nodiscard]] error ask_transaction_id(Transaction& tx, const database_identity& known, std::uint64_t& id, bool& wrote) {
    using namespace literals;
    constexpr auto ask =
        "select txid_current_if_assigned(), (select system_identifier from pg_control_system()), "
        "(select oid::int8 from pg_database where datname = current_database())"_sql.named("strata two-phase transaction id");
    const auto said = tx.template try_one<std::tuple<std::optional<std::int64_t>, std::int64_t, std::int64_t>>(ask());
    if (!said) return said.error();
    const auto& [number, server, database] = *said;
    if (database_identity{static_cast<std::uint64_t>(server), static_cast<std::uint64_t>(database)} != known) return other_database();
    wrote = number.has_value();
    id = static_cast<std::uint64_t>(number.value_or(0));
    return {};
}

/// Ends a prepared transaction on a connection that holds nothing else, which blocks. One that is gone has ended before:
/// `heuristic_outcome` where the database remembers that it ended the other way. `transaction_id` 0: nobody knows its number.
template <class Session>
[[nodiscard]] error end_prepared(Session& s, const std::string& id, std::uint64_t transaction_id, bool commit) {
    using namespace literals;
    using texts = typename Session::driver::two_phase;
    error e;
    static_cast<void>(control(s.connection(), commit ? texts::commit(id) : texts::roll_back(id), e));
    if (!e) return e;
    e.set(phase::commit);
    if (e.code() != errc::undefined_object || transaction_id == 0) return e.code() == errc::undefined_object ? error{} : e;

    constexpr auto ask = "select txid_status(:id)"_sql.named("strata two-phase outcome");
    const auto said = s.template try_one<std::optional<std::string>>(ask(static_cast<std::int64_t>(transaction_id)));
    if (!said) return said.error();
    if (!*said || **said == (commit ? "committed" : "aborted")) return {};  // null: too long ago
    if (**said == "in progress") return {errc::busy, joined({"the branch '", id, "' is being prepared or ended just now"}), phase::commit};
    return {errc::heuristic_outcome,
            joined({"the branch '", id, "' was ", commit ? "rolled back" : "committed", " by hand, though the transaction is ",
                    commit ? "committed" : "rolled back"}),
            phase::commit, effect::applied};
}

/// One line of `pg_prepared_xacts`.
struct prepared_line {
    std::string id;
    std::string owner;
    duration age;
};

/// What is prepared in the session's database and begins with `prefix`.
template <class Session>
[[nodiscard]] error list_prepared(Session& s, const std::string& prefix, std::vector<prepared_line>& lines) {
    using namespace literals;
    constexpr auto ask =
        "select gid, owner::text, (extract(epoch from clock_timestamp() - prepared) * 1000000)::int8 from pg_prepared_xacts "
        "where database = current_database() and left(gid, length(:prefix::text)) = :prefix order by prepared"_sql.named(
            "strata two-phase in doubt");
    const auto said = s.template try_all<std::tuple<std::string, std::string, std::int64_t>>(ask("prefix"_arg = prefix));
    if (!said) return said.error();
    for (const auto& [id, owner, age] : *said) lines.push_back({id, owner, std::chrono::microseconds{age}});
    return {};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The databases of a distributed transaction between its runs, and the one among them that cannot prepare: an SQLite file.
//
// The last resource commits when all others are prepared, and its commit is the decision: in the same transaction it writes what it
// decides into a table of its own, `strata_decision`. So after a crash the file says which way the branches go, whatever the moment was;
// until it is there again they wait. The file must sync its commits, and must not be replaced by an older copy while branches wait.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LAST_RESOURCE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LAST_RESOURCE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

using blob = std::vector<std::byte>;

[[nodiscard]] inline blob to_blob(std::string_view s) {
    blob b(s.size());
    if (!s.empty()) std::memcpy(b.data(), s.data(), s.size());
    return b;
}
[[nodiscard]] inline std::string from_blob(const blob& b) {
    return b.empty() ? std::string{} : std::string{reinterpret_cast<const char*>(b.data()), b.size()};
}

/// A database that prepares.
template <class Database>
struct enlisted {
    explicit enlisted(Database& d) noexcept : db(d) {}
    [[nodiscard]] error open() { return ask_identity(db, identity); }

    Database& db;
    database_identity identity;
};

/// The last resource. Thread-safe once it is open.
template <class Database>
    requires(!can_prepare<typename Database::driver>)
struct enlisted<Database> {
    explicit enlisted(Database& d) noexcept : db(d) {}

    /// Makes the table where it is missing.
    [[nodiscard]] error open() {
        using namespace literals;
        auto s = db.try_session();
        if (!s) return s.error();
        const auto synchronous = s->template try_one<std::int64_t>("pragma synchronous"_sql());
        if (!synchronous) return synchronous.error();
        const auto journal = s->template try_one<std::string>("pragma journal_mode"_sql());
        if (!journal) return journal.error();
        const bool unlinks = *journal == "delete";  // and commits so, which lasts when its folder is synced: at `extra`, and only there
        if (*synchronous < (unlinks ? 3 : 2) || *journal == "off" || *journal == "memory") {
            error e{errc::unsupported, "this SQLite database may lose what it has committed, and so cannot decide for others",
                    phase::admission};
            e.edit_texts().hint =
                "a file with sqlite_options.synchronous = full and journal = wal; under a rollback journal add \"pragma "
                "synchronous = extra\" to its pragmas";
            return e;
        }
        if (auto made = s->try_execute(
                "create table if not exists strata_decision (id text primary key, decision blob not null) without rowid"_sql());
            !made)
            return made.error();
        if (auto put =
                s->try_execute("insert or ignore into strata_decision values ('identity', :id)"_sql(to_blob(hex_of(random_identity()))));
            !put)
            return put.error();
        const auto mine = s->template try_one<blob>("select decision from strata_decision where id = 'identity'"_sql());
        if (!mine) return mine.error();
        file = from_hex(from_blob(*mine));
        return file != 0 ? error{} : error{errc::corrupt, "the table strata_decision has no identity", phase::admission};
    }

    /// What the transaction decides when it is committed. Drops what was forgotten meanwhile.
    template <class Transaction>
    [[nodiscard]] error note(Transaction& tx, const std::string& id, const decision& d) {
        using namespace literals;
        const std::vector<std::string> old = [&] {
            const std::lock_guard guard(lock);
            return std::exchange(forgotten, {});  // if this is rolled back, recovery deletes them
        }();
        for (const std::string& o : old)
            if (auto gone = tx.try_execute("delete from strata_decision where id = :id"_sql(o)); !gone) return gone.error();
        std::string bytes;
        write_decision(bytes, d);
        if (auto put = tx.try_execute("insert into strata_decision values (:id, :decision)"_sql(id, to_blob(bytes))); !put)
            return put.error();
        return {};
    }
    void forget(const std::string& id) {
        const std::lock_guard guard(lock);
        if (forgotten.size() == most_forgotten) forgotten.erase(forgotten.begin());  // recovery deletes it
        forgotten.push_back(id);
    }
    /// Now, or by the next recovery.
    void drop(const std::string& id) {
        using namespace literals;
        static_cast<void>(db.try_execute("delete from strata_decision where id = :id"_sql(id)));
    }

    /// What it has decided for the coordinator whose ids begin so. Writes first: a commit that failed while it was written cannot come
    /// back to life after that.
    [[nodiscard]] error read(const std::string& prefix, std::vector<std::pair<std::string, decision>>& all) {
        using namespace literals;
        const auto fenced = db.try_execute("insert or replace into strata_decision values ('recovered', x'00')"_sql());
        if (!fenced) return fenced.error();
        const auto rows = db.template try_all<std::tuple<std::string, blob>>(
            "select id, decision from strata_decision where substr(id, 1, length(:prefix)) = :prefix"_sql("prefix"_arg = prefix));
        if (!rows) return rows.error();
        for (const auto& [id, bytes] : *rows) {
            decision d;
            if (!read_decision(from_blob(bytes), d))
                return {errc::corrupt, joined({"the row '", id, "' of strata_decision is no decision"}), phase::admission};
            all.emplace_back(id, std::move(d));
        }
        return {};
    }

    Database& db;
    database_identity identity;  // of none
    std::uint64_t file = 0;      ///< random, made with the table
    std::mutex lock;
    std::vector<std::string> forgotten;

private:
    static constexpr std::size_t most_forgotten = 64;

    [[nodiscard]] static std::uint64_t from_hex(const std::string& s) noexcept {
        std::uint64_t n = 0;
        for (const char c : s) n = n << 4 | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
        return n;
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a crash, a lost connection or a lost server has left of distributed transactions, found and brought to its end.
//
// Only ids of the coordinator's own log are touched, and of these none that is on its way in this process; another process cannot have
// the log open. A branch is committed where its transaction was decided, else rolled back. Ids are never used twice, so a race with a
// transaction that ends meanwhile is lost without harm.
#ifndef STRATA_TRANSACTION_TWO_PHASE_RECOVERY_HPP
#define STRATA_TRANSACTION_TWO_PHASE_RECOVERY_HPP

namespace strata::inline STRATA_ABI {

/// What `recover` has done.
struct recovery_report {
    std::size_t committed = 0;    ///< branches that were committed now, or had been
    std::size_t rolled_back = 0;  ///< branches that were rolled back now
    std::size_t remaining =
        0;  ///< branches that could not be ended now: `errors` says why, or their SQLite file or database is not among these
    std::vector<heuristic_outcome> heuristics;  ///< found now; the coordinator's log keeps them until they are acknowledged
    std::vector<error> errors;

    /// Nothing is left to do.
    [[nodiscard]] bool complete() const noexcept { return remaining == 0 && errors.empty(); }
};

/// A prepared transaction of a database.
struct in_doubt_transaction {
    enum class kind : std::uint8_t {
        in_flight,          ///< of this coordinator, and on its way in this process
        awaits_recovery,    ///< of this coordinator, and nobody's work at the moment
        other_coordinator,  ///< strata's, but not of this coordinator's log
        foreign             ///< of another program
    };
    std::size_t database = 0;  ///< which of the participants it was found in, from 0
    std::string id;
    std::string owner;  ///< the role that prepared it, and that may end it
    duration age{};     ///< by the server's clock
    kind what = kind::foreign;
};

namespace detail {

/// Recovery over any number of databases: `list` each, then `read` what was decided, then `settle` each, then `forget`.
class two_phase_recovery {
public:
    explicit two_phase_recovery(transaction_coordinator& c) : coordinator_(c) {}

    /// What is prepared in a database and nobody's work at the moment.
    template <class Database>
    void list(enlisted<Database>& where, duration deadline) {
        if constexpr (can_prepare<typename Database::driver>) {
            std::vector<prepared_line> lines;
            with_session(where, deadline, [&](auto& s) { return list_prepared(s, coordinator_.prefix(), lines); });
            for (const prepared_line& l : lines) add(where.identity, l.id);
        }
    }
    template <class Database>
    void read(enlisted<Database>& where) {
        if constexpr (!can_prepare<typename Database::driver>) {
            std::vector<std::pair<std::string, decision>> rows;
            if (error e = where.read(coordinator_.prefix(), rows)) return failed(std::move(e));
            file_ = where.file;
            for (auto& [name, d] : rows)
                if (!coordinator_.is_in_flight(d.id)) decisions_.push_back({std::move(d), std::move(name), {}});
        }
    }
    void read_log() {
        for (decision& d : coordinator_.pending()) decisions_.push_back({std::move(d), {}, {}});
    }
    /// Commits what was decided, rolls back what was not.
    template <class Database>
    void settle(enlisted<Database>& where, duration deadline) {
        if constexpr (can_prepare<typename Database::driver>) {
            for (standing& s : decisions_) s.settled.resize(s.d.branches.size());
            if (!concerns(where.identity)) return;
            with_session(where, deadline, [&](auto& session) {
                for (standing& s : decisions_) commit(session, where.identity, s);
                for (found& f : found_) roll_back(session, where.identity, f);
                return error{};
            });
        }
    }
    /// What is complete is forgotten; `drop(name)`: from the last resource. What is not is counted.
    template <class Drop>
    void forget(Drop&& drop) {
        for (const standing& s : decisions_) {
            const auto open = std::count(s.settled.begin(), s.settled.end(), false);
            report.remaining += static_cast<std::size_t>(open);
            if (open != 0) continue;
            if (s.row.empty())
                coordinator_.log().forget(s.d.id);
            else
                drop(s.row);
        }
        for (const found& f : found_) report.remaining += f.ended || is_decided(f.id.id) ? 0u : 1u;
        coordinator_.log().tidy();
    }

    recovery_report report;

private:
    struct standing {
        decision d;
        std::string row;  // of the last resource's table; empty: it stands in the log
        std::vector<bool> settled;
    };
    struct found {
        database_identity where;
        global_id id;
        std::string text;
        bool ended = false;
    };

    void failed(error e) { report.errors.push_back(std::move(e)); }

    template <class Database, class F>
    void with_session(enlisted<Database>& where, duration deadline, F&& f) {
        auto s = where.db.try_session({.deadline = deadline, .name = "strata two-phase recovery"});
        error e = s ? check_identity(*s, where.identity) : s.error();
        if (!e) e = f(*s);
        if (e) failed(std::move(e));
    }

    void add(const database_identity& where, const std::string& text) {
        const auto id = global_id::read(text, coordinator_.prefix());
        if (!id || coordinator_.is_in_flight(id->id)) return;
        for (const found& f : found_)
            if (f.where == where && f.text == text) return;  // two participants are one database
        found_.push_back({where, *id, text});
        if (id->id.opening <= coordinator_.log().opening()) return;
        error e{errc::corrupt, joined({"the branch '", text, "' is younger than the decision log, which is an old copy"}),
                phase::admission};
        e.edit_texts().hint = "open the newest log: by this one, nothing of later openings is ended";
        failed(std::move(e));
    }
    [[nodiscard]] bool concerns(const database_identity& where) const {
        return std::any_of(found_.begin(), found_.end(), [&](const found& f) { return f.where == where; }) ||
               std::any_of(decisions_.begin(), decisions_.end(), [&](const standing& s) {
                   return std::any_of(s.d.branches.begin(), s.d.branches.end(), [&](const auto& b) { return b.where == where; });
               });
    }
    [[nodiscard]] bool is_decided(const transaction_number& id) const {
        return std::any_of(decisions_.begin(), decisions_.end(), [&](const standing& s) { return s.d.id == id; });
    }

    template <class Session>
    void commit(Session& session, const database_identity& where, standing& s) {
        for (std::size_t i = 0; i < s.d.branches.size(); ++i) {
            const prepared_branch& b = s.d.branches[i];
            if (s.settled[i] || !(b.where == where)) continue;
            const global_id id{s.d.id, b.branch, s.row.empty() ? 0 : file_};
            error e = end_prepared(session, id.to_string(coordinator_.prefix()), b.transaction_id, true);
            s.settled[i] = !e || e.code() == errc::heuristic_outcome;
            if (!e) ++report.committed;
            if (e.code() == errc::heuristic_outcome) {
                report.heuristics.push_back({s.d.id, b, false});
                if (error unkept = coordinator_.found(report.heuristics.back())) {
                    s.settled[i] = false;  // to be found again
                    failed(std::move(unkept));
                }
            }
            if (e) failed(std::move(e));
        }
    }
    template <class Session>
    void roll_back(Session& session, const database_identity& where, found& f) {
        const bool elsewhere = f.id.last_resource != 0 && f.id.last_resource != file_;  // decided where we cannot look
        if (!(f.where == where) || elsewhere || f.ended || f.id.id.opening > coordinator_.log().opening() || is_decided(f.id.id)) return;
        if (error e = end_prepared(session, f.text, 0, false)) return failed(std::move(e));
        f.ended = true;
        ++report.rolled_back;
    }

    transaction_coordinator& coordinator_;
    std::vector<found> found_;
    std::vector<standing> decisions_;
    std::uint64_t file_ = 0;  // of the last resource that was read
};

[[nodiscard]] inline in_doubt_transaction::kind kind_of(const std::string& text, const transaction_coordinator& c) {
    using enum in_doubt_transaction::kind;
    if (const auto id = global_id::read(text, c.prefix())) return c.is_in_flight(id->id) ? in_flight : awaits_recovery;
    return text.starts_with(global_prefix) ? other_coordinator : foreign;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One participant of a distributed transaction while that is on its way: an operation of its database, admitted once, whose connection
// is held from BEGIN until the branch has ended in whatever way.
#ifndef STRATA_TRANSACTION_TWO_PHASE_BRANCH_HPP
#define STRATA_TRANSACTION_TWO_PHASE_BRANCH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A participant as the drive of the protocol sees it.
class two_phase_participant {
public:
    [[nodiscard]] virtual error begin() = 0;
    /// The caller's work is done: from now on its handle is of no use. Why the transaction must not go on.
    [[nodiscard]] virtual error end_work() = 0;
    /// The caller's, at the very end.
    virtual void run_hooks(error& e) noexcept = 0;
    /// A step of its own; `id`: the branch's. Whatever gives the connection back, or fails to prepare, is the last but for
    /// `complete` and `discard`.
    [[nodiscard]] virtual error perform(two_phase_step step, const std::string& id, bool& wrote) = 0;
    /// `note_decision`.
    [[nodiscard]] virtual error note(const std::string& id, const decision& d) = 0;
    [[nodiscard]] virtual prepared_branch as_prepared(std::uint32_t number) const noexcept = 0;

protected:
    ~two_phase_participant() = default;
};

/// What goes over the held connection, each command over as many resumes as it takes.
template <class Runtime>
class branch_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    enum class command : std::uint8_t { begin, prepare, commit, roll_back, end_prepared };

    branch_work(Runtime& rt, const transaction_plan<driver>& plan) noexcept : rt_(rt), plan_(plan) {}

    /// Before `commit`, of what has written: a COMMIT that gets no answer is looked up where the stack says so.
    void resolve() { end_ = transaction_end<driver>{plan_.resolves}; }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = go_on(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { held = nullptr; }

    connection* held = nullptr;
    command now = command::begin;
    std::string text;  ///< of `prepare` and `end_prepared`

private:
    /// `item` while the connection is kept.
    [[nodiscard]] signal go_on(connection& c, operation_base& op) {
        switch (now) {
            case command::begin: {
                const guarded guard{c, &op};
                error_ = {};
                const signal s = control(c, driver::begin(plan_.mode), error_);
                if (s != signal::done) return s;
                held = &c;
                return signal::item;
            }
            case command::prepare:
                return prepare(c, op);
            case command::commit:
                return end_.commit(c, error_);
            case command::roll_back:
                if (!std::exchange(rolls_back_, true)) {
                    const bool lost = [&] {
                        if constexpr (requires { c.is_lost(); })
                            return c.is_lost();
                        else
                            return false;
                    }();
                    error_ = error{lost ? errc::connection_lost : errc::transaction_aborted, "the distributed transaction was rolled back",
                                   phase::commit};
                    if (lost) error_.set_lost();
                }
                return end_.roll_back(c, error_);
            default: {
                const guarded unhurried{c, nullptr};
                const signal s = control(c, text, error_);
                if (s == signal::failed) error_.set(phase::commit);
                return s;
            }
        }
    }
    [[nodiscard]] signal prepare(connection& c, operation_base& op) {
        if (!rolls_back_) {
            const guarded guard{c, &op};
            signal s = signal::failed;
            if (asked_ || !(error_ = stopped(op, rt_.world()))) {
                asked_ = true;
                s = control(c, text, error_);
            }
            if (s == signal::done) return signal::item;
            if (s != signal::failed) return s;
            error_.set(phase::commit);
            rolls_back_ = true;
            may_be_prepared_ = asked_ && error_.health() >= health::lost;
        }
        if (may_be_prepared_) {  // the answer was lost
            error_.set(effect::unknown);
            return signal::failed;
        }
        return end_.roll_back(c, error_);
    }

    Runtime& rt_;
    const transaction_plan<driver> plan_;
    transaction_end<driver> end_;
    error error_;
    bool asked_ = false;
    bool rolls_back_ = false;
    bool may_be_prepared_ = false;
};

/// What each branch of a transaction has in common.
struct branch_options {
    duration deadline{};
    std::string_view name;
    std::span<const tag> tags;
    strata::priority priority = strata::priority::normal;
    duration finish_within{};
    std::optional<strata::isolation> isolation;
};

template <class Database>
class branch final : public two_phase_participant {
    using runtime_type = typename Database::runtime_type;
    using driver = typename runtime_type::driver;
    using work_type = branch_work<runtime_type>;
    using command = typename work_type::command;
    using op_type = operation<transaction_facts>;
    using handle_type = basic_transaction<runtime_type>;

public:
    struct seed {
        enlisted<Database>& where;
        const branch_options& options;
    };

    explicit branch(const seed& s)
        : where_(s.where), finish_within_(s.options.finish_within), rt_(s.where.db.shared_runtime()),
          work_(*rt_, plan_of(*rt_, {.isolation = s.options.isolation})),
          flight_(rt_->world(), rt_->policies(), rt_->connections(), op_, work_) {
        op_.name = s.options.name;
        op_.tags = s.options.tags;
        op_.priority = s.options.priority;
        op_.deadline = deadline_of(rt_->world(), s.options.deadline, nullptr);
    }
    branch(const branch&) = delete;
    branch& operator=(const branch&) = delete;
    /// Where something was thrown in the middle.
    ~branch() {
        if (work_.held == nullptr) return;
        try {
            static_cast<void>(say(command::roll_back));
        } catch (...) {  // no memory: the connection is given back as it is, and tidied there
        }
    }

    [[nodiscard]] handle_type& handle() noexcept { return *handle_; }

    [[nodiscard]] error begin() override {
        static_cast<void>(drive(flight_, rt_->world(), flight_.start()));
        if (flight_.thrown()) std::rethrow_exception(flight_.thrown());
        if (work_.held == nullptr) return std::move(flight_.result().error());
        users_.use.begin();
        ours_.use.begin();
        handle_.emplace(*rt_, *work_.held, op_, users_, 0u);
        own_.emplace(*rt_, *work_.held, op_, ours_, 0u);
        return {};
    }
    [[nodiscard]] error end_work() override {
        error e;
        if (!users_.use.try_end()) [[unlikely]]
            e = users_.end_late(op_);
        return verdict_of(users_.use, std::move(e));
    }
    void run_hooks(error& e) noexcept override {
        if (e.effect() == effect::applied)
            users_.hooks.run(true);
        else
            users_.run_hooks(e);
    }

    [[nodiscard]] error perform(two_phase_step step, const std::string& id, bool& wrote) override {
        switch (step) {
            case two_phase_step::commit:
                if (transaction_id_ != 0) work_.resolve();
                return say(command::commit);
            case two_phase_step::roll_back:
                static_cast<void>(say(command::roll_back));
                return {};
            default:
                break;
        }
        if constexpr (can_prepare<driver>) {
            using texts = typename driver::two_phase;
            switch (step) {
                case two_phase_step::ask:
                    return ask_transaction_id(*own_, where_.identity, transaction_id_, wrote);
                case two_phase_step::prepare:
                    return say(command::prepare, texts::prepare(id));
                case two_phase_step::commit_prepared:
                    return say(command::end_prepared, texts::commit(id));
                case two_phase_step::rollback_prepared:
                    return say(command::end_prepared, texts::roll_back(id));
                default:
                    break;
            }
            auto session = where_.db.try_session({.deadline = finish_within_, .name = op_.name});
            if (!session) return session.error();
            if (error e = check_identity(*session, where_.identity)) return e;
            return end_prepared(*session, id, transaction_id_, step == two_phase_step::complete);
        } else {
            return error{errc::misuse, "a last resource is not prepared", phase::commit};
        }
    }

    [[nodiscard]] error note(const std::string& id, const decision& d) override {
        if constexpr (can_prepare<driver>)
            return error{errc::misuse, "only a last resource notes a decision", phase::commit};
        else
            return where_.note(*own_, id, d);
    }
    [[nodiscard]] prepared_branch as_prepared(std::uint32_t number) const noexcept override {
        return {number, where_.identity, transaction_id_};
    }

private:
    /// Blocks until the command has ended: empty where it went well.
    [[nodiscard]] error say(command c, std::string text = {}) {
        if (work_.held == nullptr) return error{errc::misuse, "the branch has ended", phase::commit};
        work_.now = c;
        work_.text = std::move(text);
        const need n = drive(flight_, rt_->world(), flight_.resume());
        if (flight_.thrown()) std::rethrow_exception(flight_.thrown());
        return n == need::item ? error{} : std::move(flight_.result().error());
    }

    enlisted<Database>& where_;
    duration finish_within_;
    std::shared_ptr<runtime_type> rt_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename runtime_type::source, op_type, work_type>
        flight_;
    transaction_state users_;
    transaction_state ours_;
    std::optional<handle_type> handle_;  // the caller's
    std::optional<handle_type> own_;     // for what is asked and noted after the caller's work
    std::uint64_t transaction_id_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The blocking drive of two-phase commit: does what the protocol says, on the participants and the coordinator's log.
#ifndef STRATA_TRANSACTION_TWO_PHASE_SETTLE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_SETTLE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// One transaction of a coordinator on its way to its end.
class two_phase_settlement {
public:
    /// `last_resource`: which of the participants cannot prepare, and the identity of its file; `none` and 0 without one.
    two_phase_settlement(transaction_coordinator& c, const transaction_number& id, std::span<two_phase_participant* const> participants,
                         std::size_t last_resource, std::uint64_t file)
        : coordinator_(c), id_(id), participants_(participants), last_(last_resource), file_(file) {
        decision_.id = id;
    }

    /// Begins on all, or on none.
    [[nodiscard]] error begin() {
        for (std::size_t i = 0; i < participants_.size(); ++i) {
            const at_step told{coordinator_, two_phase_step::begin, i};
            error e = participants_[i]->begin();
            if (!e) continue;
            bool wrote = false;
            while (i-- > 0) static_cast<void>(participants_[i]->perform(two_phase_step::roll_back, {}, wrote));
            return e;
        }
        return {};
    }

    /// Commits, or rolls back for `why`. What comes out says what became of the whole.
    [[nodiscard]] error settle(error why) {
        for (two_phase_participant* p : participants_) {
            error e = p->end_work();
            if (e && (!why || why.code() == errc::transaction_aborted)) why = std::move(e);
        }
        two_phase_protocol protocol{participants_.size(), last_, std::move(why)};
        for (two_phase_order o = protocol.next(); o.step != two_phase_step::ended; o = protocol.next()) {
            const at_step told{coordinator_, o.step, o.participant};
            bool wrote = true;
            error e;
            try {
                e = perform(o, wrote);
            } catch (const std::exception& x) {  // no memory, or no random numbers
                e = error{errc::out_of_memory, x.what(), phase::commit, o.step == two_phase_step::decide ? effect::unknown : effect::none};
            }
            protocol.answer(std::move(e), wrote);
        }
        error e = std::move(protocol).result();
        for (two_phase_participant* p : participants_) p->run_hooks(e);
        return e;
    }

    /// Whether the decision stands in the last resource, and is complete.
    [[nodiscard]] bool is_to_be_forgotten_there() const noexcept { return forgotten_ && last_ != two_phase_protocol::none; }
    [[nodiscard]] std::string decision_name() const { return global_id{id_, 0, file_}.to_string(coordinator_.prefix()); }

private:
    /// Tells a test.
    struct at_step {
        at_step(const transaction_coordinator& c, two_phase_step s, std::size_t i) noexcept : coordinator(c), step(s), participant(i) {
            coordinator.at_step(step, participant, false);
        }
        at_step(const at_step&) = delete;
        at_step& operator=(const at_step&) = delete;
        ~at_step() { coordinator.at_step(step, participant, true); }
        const transaction_coordinator& coordinator;
        two_phase_step step;
        std::size_t participant;
    };

    [[nodiscard]] error perform(const two_phase_order& o, bool& wrote) {
        switch (o.step) {
            case two_phase_step::decide:
                return coordinator_.log().decide(decision_);
            case two_phase_step::note_decision:
                return participants_[o.participant]->note(decision_name(), decision_);
            case two_phase_step::forget:
                forgotten_ = true;
                if (last_ == two_phase_protocol::none) coordinator_.log().forget(id_);
                return {};
            default:
                break;
        }
        two_phase_participant& p = *participants_[o.participant];
        const auto number = static_cast<std::uint32_t>(o.participant);
        error e = p.perform(o.step, global_id{id_, number, file_}.to_string(coordinator_.prefix()), wrote);
        if (o.step == two_phase_step::prepare && !e) decision_.branches.push_back(p.as_prepared(number));
        if (e.code() == errc::heuristic_outcome) {
            const error unkept = coordinator_.found({id_, p.as_prepared(number), o.step == two_phase_step::discard});
            if (unkept) e.edit_texts().detail = joined({"this could not be noted: ", unkept.message()});
        }
        return e;
    }

    transaction_coordinator& coordinator_;
    transaction_number id_;
    std::span<two_phase_participant* const> participants_;
    std::size_t last_;
    std::uint64_t file_;
    decision decision_;
    bool forgotten_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One transaction over several databases: committed in all of them or in none, whatever crashes meanwhile. By two-phase commit.
//
//   strata::transaction_coordinator coordinator{{.name = "transfers", .log = "/var/lib/bank/transfers.log"}};
//   strata::distributed_transaction transfer{coordinator, berlin, paris};
//   transfer.recover();                                        // at the start, and now and then: what a crash has left
//
//   transfer.run([&](auto& in_berlin, auto& in_paris) {
//       in_berlin.execute(add("amount"_arg = -100, "id"_arg = 1));
//       in_paris.execute(add("amount"_arg = +100, "id"_arg = 2));
//   });
//
// What it costs: where one database alone has written, its plain COMMIT (looked up as `transactions_options::resolve_commit` of its stack
// says). Where more have, a question, PREPARE TRANSACTION and COMMIT
// PREPARED on each, one after the other, and one write that is synced to the coordinator's log.
//
// What it does not do: others may see one database's part a moment before the other's, for only each database by itself isolates.
//
// At most one participant may be an SQLite database. It commits when all others are prepared, and so decides; what it decided stands in
// its table `strata_decision`, and recovery needs that very file. Under a rollback journal it must be opened with `pragma synchronous =
// extra`, for SQLite's `full` does not sync the folder from which the journal vanishes, and a power cut may undo the last commit.
#ifndef STRATA_DISTRIBUTED_TRANSACTION_HPP
#define STRATA_DISTRIBUTED_TRANSACTION_HPP

namespace strata::inline STRATA_ABI {

struct distributed_transaction_options {
    duration deadline{};  ///< from the start of the call up to the decision; zero: none
    /// How long another connection is waited for, by each database whose connection was lost in the second phase, one after the other. On
    /// it the branch is ended in one attempt, which takes up to the driver's own limit (`postgres_options::finish_limit`); what fails there
    /// is left to `recover`.
    duration finish_within = std::chrono::seconds{5};
    std::span<const tag> tags = {};
    std::string_view name = {};  ///< for metrics and logs
    strata::priority priority = strata::priority::normal;
    /// At least so isolated is each database's part; no snapshot is common to them.
    std::optional<strata::isolation> isolation = std::nullopt;
};

namespace detail {

template <class T>
inline constexpr bool is_blocking_database = false;
template <class Stack, class World>
inline constexpr bool is_blocking_database<database<Stack, World>> = true;

template <class Database>
concept may_take_part = can_prepare<typename Database::driver> || Database::dialect == dialect::sqlite;

/// Where the one is that cannot prepare; `none` without.
template <class... Databases>
consteval std::size_t last_resource_of() {
    constexpr bool prepares[] = {can_prepare<typename Databases::driver>...};
    for (std::size_t i = 0; i < sizeof...(Databases); ++i)
        if (!prepares[i]) return i;
    return two_phase_protocol::none;
}

}  // namespace detail

/// The databases of a kind of distributed transaction, for as long as it is in use. They and the coordinator outlive it. Thread-safe; not
/// copied. Each run holds a connection of every database; give all objects over the same databases the same order, lest two wait for
/// each other's connections.
template <class... Databases>
class distributed_transaction {
    static_assert((detail::is_blocking_database<Databases> && ...),
                  "strata: a distributed transaction takes databases: distributed_transaction t{coordinator, berlin, paris}");
    static_assert(sizeof...(Databases) > 0, "strata: a distributed transaction needs at least one database, and makes sense with two");
    static_assert((detail::may_take_part<Databases> && ...),
                  "strata: this driver's database cannot prepare transactions, and is no SQLite database, which may be the last resource");
    static_assert((std::size_t{0} + ... + (detail::can_prepare<typename Databases::driver> ? 0u : 1u)) <= 1,
                  "strata: two SQLite databases cannot be committed together: only one participant may be one that cannot prepare (attach "
                  "one file to the other's connection instead)");
    static_assert((std::size_t{0} + ... + (detail::can_prepare<typename Databases::driver> ? 1u : 0u)) >= 1,
                  "strata: an SQLite database by itself needs no distributed transaction: write db.transaction(...)");

    template <class Database>
    using handle_of = basic_transaction<typename Database::runtime_type>;

public:
    /// Asks each database who it is. Throws `failure`: `unsupported`, with the remedy, where a server has `max_prepared_transactions` 0 or
    /// an SQLite database does not sync its commits; and what the databases say.
    explicit distributed_transaction(transaction_coordinator& coordinator, Databases&... databases)
        : coordinator_(coordinator), enlisted_(databases...) {
        (detail::assert_transactions<typename Databases::runtime_type>(), ...);
        each([](auto& e) {
            if (error why = e.open()) throw_failure(std::move(why));
        });
    }
    distributed_transaction(const distributed_transaction&) = delete;
    distributed_transaction& operator=(const distributed_transaction&) = delete;

    /// Runs the closure once, with the handle of a transaction in each database, in order; never again by itself. Commits when it returns,
    /// rolls back when it throws or returns a `result` that holds an error. Its value comes out. Throws what the closure threw, or
    /// `failure`, whose effect is that on the whole:
    ///   `rolled_back`  in every database; where one could not be told so, its branch holds its locks until `recover`
    ///   `applied`      `errc::commit_pending`: committed, and `recover` completes it where a database could not be reached;
    ///                  `errc::heuristic_outcome`: somebody ended a prepared branch by hand, and the other way
    ///   `unknown`      `errc::outcome_unknown`: the log or the last resource failed while the decision was written; as a whole or not at
    ///   all
    template <class Closure>
    auto run(Closure&& closure, const distributed_transaction_options& o = {}) {
        call<Closure> c{closure};
        if (error e = go(c, o)) [[unlikely]] {
            if (c.thrown) std::rethrow_exception(c.thrown);
            if constexpr (!std::is_void_v<typename call<Closure>::value>) {
                if (c.returned && detail::holds_error(*c.returned)) return detail::failed_value(std::move(*c.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<typename call<Closure>::value>) return std::move(*c.returned);
    }
    /// The same; what would be a `failure` comes as a `result`.
    template <class Closure>
    auto try_run(Closure&& closure, const distributed_transaction_options& o = {}) ->
        typename detail::as_result<std::remove_cvref_t<std::invoke_result_t<Closure&, handle_of<Databases>&...>>>::type {
        call<Closure> c{closure};
        if (error e = go(c, o)) [[unlikely]] {
            if (c.thrown) std::rethrow_exception(c.thrown);
            return e;
        }
        if constexpr (std::is_void_v<typename call<Closure>::value>)
            return {};
        else
            return std::move(*c.returned);
    }

    /// Ends what earlier runs, of this process or of one that died, have left prepared in these databases: commits what was decided, rolls
    /// back the rest. Call it at the start, and then now and then, since a server may be late with what it was told. Touches nothing
    /// that is on its way, and nothing of other coordinators. `deadline`: for each database. Does not throw for a database's failure.
    recovery_report recover(duration deadline = std::chrono::seconds{30}) {
        detail::two_phase_recovery r{coordinator_};
        if (error e = coordinator_.log().check()) {
            r.report.errors.push_back(std::move(e));
            return std::move(r.report);
        }
        each([&](auto& e) { r.list(e, deadline); });
        r.read_log();
        each([&](auto& e) { r.read(e); });
        each([&](auto& e) { r.settle(e, deadline); });
        r.forget([&](const std::string& row) {
            if constexpr (last != detail::two_phase_protocol::none) std::get<last>(enlisted_).drop(row);
        });
        return std::move(r.report);
    }

    /// Everything that is prepared in these databases at the moment, whoever prepared it, for monitoring: what is old holds its locks, and
    /// keeps the server from vacuuming. Throws `failure`.
    [[nodiscard]] std::vector<in_doubt_transaction> in_doubt() {
        std::vector<in_doubt_transaction> all;
        std::size_t number = 0;
        each([&]<class Database>(detail::enlisted<Database>& e) {
            if constexpr (detail::can_prepare<typename Database::driver>) {
                std::vector<detail::prepared_line> lines;
                if (error why = detail::list_prepared(e.db, {}, lines)) throw_failure(std::move(why));
                for (detail::prepared_line& l : lines)
                    all.push_back({number, l.id, std::move(l.owner), l.age, detail::kind_of(l.id, coordinator_)});
            }
            ++number;
        });
        return all;
    }

private:
    static constexpr std::size_t last = detail::last_resource_of<Databases...>();

    /// The closure, and what came of it.
    template <class Closure>
    struct call {
        using value = std::remove_cvref_t<std::invoke_result_t<Closure&, handle_of<Databases>&...>>;

        /// Empty when the transaction is to be committed.
        [[nodiscard]] error work(handle_of<Databases>&... handles) {
            try {
                if constexpr (std::is_void_v<value>) {
                    closure(handles...);
                } else {
                    returned.emplace(closure(handles...));
                    if (detail::holds_error(*returned)) return detail::error_in(*returned);
                }
                return {};
            } catch (const failure& f) {
                return detail::told_by_closure(f.error());
            } catch (...) {
                thrown = std::current_exception();
                return error{errc::user_exception, phase::execute};
            }
        }

        std::remove_reference_t<Closure>& closure;
        std::optional<detail::storable<value>> returned = {};
        std::exception_ptr thrown = {};
    };

    template <class Call>
    [[nodiscard]] error go(Call& c, const distributed_transaction_options& o) {
        if (error e = coordinator_.log().check()) return e;
        const detail::branch_options options{o.deadline, o.name, o.tags, o.priority, o.finish_within, o.isolation};
        return std::apply(
            [&](auto&... where) {
                std::tuple<detail::branch<Databases>...> branches{typename detail::branch<Databases>::seed{where, options}...};
                return std::apply([&](auto&... branch) { return settle(c, branch...); }, branches);
            },
            enlisted_);
    }
    template <class Call, class... Branch>
    [[nodiscard]] error settle(Call& c, Branch&... branch) {
        const transaction_coordinator::flight flight{coordinator_};
        const std::array<detail::two_phase_participant*, sizeof...(Branch)> participants{&branch...};
        detail::two_phase_settlement whole{coordinator_, flight.id(), participants, last, file()};
        if (error e = whole.begin()) return e;
        coordinator_.at_step(two_phase_step::work, 0, false);
        error why = c.work(branch.handle()...);
        coordinator_.at_step(two_phase_step::work, 0, true);
        error e = whole.settle(std::move(why));
        if constexpr (last != detail::two_phase_protocol::none)
            if (whole.is_to_be_forgotten_there()) std::get<last>(enlisted_).forget(whole.decision_name());
        return e;
    }

    [[nodiscard]] std::uint64_t file() const noexcept {
        if constexpr (last != detail::two_phase_protocol::none)
            return std::get<last>(enlisted_).file;
        else
            return 0;
    }
    template <class F>
    void each(F&& f) {
        std::apply([&](auto&... e) { (f(e), ...); }, enlisted_);
    }

    transaction_coordinator& coordinator_;
    std::tuple<detail::enlisted<Databases>...> enlisted_;
};

template <class... Databases>
distributed_transaction(transaction_coordinator&, Databases&...) -> distributed_transaction<Databases...>;

}  // namespace strata::inline STRATA_ABI

#endif

#endif

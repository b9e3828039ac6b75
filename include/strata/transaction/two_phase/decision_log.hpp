// The durable memory of a coordinator: which distributed transactions are committed and not yet so everywhere.
//
// Its file begins with whose it is: the coordinator's name, a random identity made with the file, and how often it was opened. Then come
// decisions, each durable before the first branch is committed, what was forgotten since, and what somebody did by hand. Opening it
// writes it anew without what was forgotten, and so does growing; the file is replaced as a whole, so it never lacks its beginning.
// What is forgotten is written with the next decision, in the same write: one write and one fdatasync a transaction.
#ifndef STRATA_TRANSACTION_TWO_PHASE_DECISION_LOG_HPP
#define STRATA_TRANSACTION_TWO_PHASE_DECISION_LOG_HPP

#include <strata/core/fork.hpp>
#include <strata/transaction/two_phase/log_file.hpp>
#include <strata/transaction/two_phase/log_records.hpp>

#include <map>
#include <mutex>
#include <optional>
#include <random>

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

// The file of a decision log: locked, replaced as a whole, or appended to, each durably or not at all. POSIX.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LOG_FILE_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LOG_FILE_HPP

#include <strata/core/error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

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

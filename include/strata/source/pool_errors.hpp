// Why a pool has no connection for a caller: all are in use (and by whom), one is being opened still, or the database cannot be reached.
#ifndef STRATA_SOURCE_POOL_ERRORS_HPP
#define STRATA_SOURCE_POOL_ERRORS_HPP

#include <strata/core/joined.hpp>
#include <strata/core/operation.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// How things stood in a lane of the pool when a caller was refused. The views are valid only as long as the pool's lock is held.
struct pool_holders {
    const char* which = "";  ///< `"writing "`, `"reading "`, or nothing
    std::size_t lent = 0;
    std::size_t opening = 0;
    std::size_t limit = 0;
    std::size_t waiting = 0;
    bool suspended = false;
    std::string_view names[3]{};  ///< of those who hold them, the first few
    std::size_t named = 0;

    void add(const operation_base& op) noexcept {
        constexpr std::size_t most = 60;
        std::string_view name = !op.name.empty()        ? op.name
                                : !op.statement.empty() ? op.statement
                                                        : "a session or transaction without a name";
        if (name.size() > most) {
            std::size_t end = most;
            while (end != 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // within a character
            name = name.substr(0, end);
        }
        if (named < 3) names[named] = name;
        ++named;
    }
};

/// `connect`: what the latest attempt to open one more ended with, if it failed.
[[nodiscard]] STRATA_COLD inline error pool_exhausted_error(const pool_holders& h, bool queue_is_full, const error& connect) {
    std::string text = joined({queue_is_full ? "the queue for a connection is full: " : "no connection became free in time: "});
    if (h.suspended) text += "the pool is suspended, ";
    text += joined({digits_of(h.lent), " of ", digits_of(h.limit), " ", h.which, "connections are in use, "});
    if (h.opening != 0) text += joined({digits_of(h.opening), " more ", h.opening == 1 ? "is" : "are", " being opened, "});
    text += joined({digits_of(h.waiting), " callers wait"});
    error e{errc::pool_exhausted, std::move(text), phase::acquire};
    error_texts& t = e.edit_texts();
    for (std::size_t i = 0; i < h.named && i < 3; ++i) t.detail.append(i == 0 ? "held by: " : " | ").append(h.names[i]);
    if (h.named > 3) t.detail.append(" | and ").append(digits_of(h.named - 3)).append(" more");
    if (connect) t.detail.append(t.detail.empty() ? "" : "; ").append("another one could not be opened: ").append(connect.message());
    t.hint = h.suspended     ? "somebody called suspend() or drain(): resume() goes on"
             : queue_is_full ? "raise pool_options.max_size or max_waiting, or send less at a time"
             : h.opening != 0
                 ? "connecting takes long: open more beforehand (min_size), or give it more time (max_wait)"
                 : "raise max_size or max_wait, or hold connections for less time; inside a transaction or session use its own "
                   "handle, for a further call on the database waits for the connection that its caller holds";
    return e.set_local();
}

/// `why`: what the latest attempt to connect ended with. `next`: until the next one. Who has waited in vain has made an attempt; to be
/// refused at once tells an outer layer nothing that it does not know.
[[nodiscard]] STRATA_COLD inline error pool_unreachable_error(const error& why, duration next, bool waited) {
    error e{errc::pool_unreachable, joined({"the database could not be reached: ", why.message()}), phase::acquire};
    error_texts& t = e.edit_texts();
    t.native_code = why.texts().native_code;
    t.detail = why.texts().detail;
    t.hint = !why.texts().hint.empty() ? why.texts().hint : "it is tried again by itself, see pool_options.first_pause and wait_while_down";
    return e.set_local(!waited).set_retry_after(next);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

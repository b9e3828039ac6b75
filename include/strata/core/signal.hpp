// What a resumable algorithm of a driver says when it returns: finished, or what it waits for.
#ifndef STRATA_CORE_SIGNAL_HPP
#define STRATA_CORE_SIGNAL_HPP

#include <strata/core/config.hpp>
#include <strata/core/time.hpp>

#include <cstdint>

namespace strata::inline STRATA_ABI {

enum class signal : std::uint8_t {
    done,    ///< finished well
    failed,  ///< finished with an error: ask the object for it
    io,      ///< wait for a descriptor, then resume
    turn,    ///< let whatever is ready have its turn first, then resume
    park,    ///< wait for what the connection says (pacing.hpp), then resume
    work,    ///< the next resume may block: move to a thread that may
    call,    ///< a closure of the user must run: resume when it has ended
    item     ///< rows for the consumer are ready: resume when they are taken
};

/// After `signal::io`: what is waited for, and until when.
struct io_wait {
    int descriptor = -1;
    bool writable = false;  ///< until it can be written to; else until there is something to read
    time_point until = never;
};

}  // namespace strata::inline STRATA_ABI

#endif

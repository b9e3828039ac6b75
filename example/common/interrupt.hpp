// Ctrl-C asks the program to end in good order; a second one ends it at once, as usual.
#ifndef EXAMPLE_COMMON_INTERRUPT_HPP
#define EXAMPLE_COMMON_INTERRUPT_HPP

#include <signal.h>

#include <atomic>

namespace example {

inline std::atomic<bool> interrupted{false};

inline void watch_for_interrupts() {
    struct sigaction on_signal = {};
    on_signal.sa_handler = [](int) { interrupted.store(true, std::memory_order_relaxed); };
    on_signal.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // once: the next one does what the system does
    ::sigaction(SIGINT, &on_signal, nullptr);
    ::sigaction(SIGTERM, &on_signal, nullptr);
}

}  // namespace example

#endif

// What runs after a transaction has ended: `tx.on_commit(f)` and `tx.on_rollback(f)`, plain functions without arguments.
//
// They run after the fact, in the order in which they were registered, where the closure ran: the thread of the call, or the handler's
// executor. When they run the connection has gone back, so they may use the database.
//
//   committed                 on_commit; the others are dropped
//   rolled back               on_rollback; the others are dropped
//   a savepoint rolled back   at once, the on_rollback of its closure; its on_commit are dropped
//   an attempt repeated       its on_rollback, before the next attempt begins, which has its connection by then
//   outcome unknown           neither, and the error says so
//   never ended               neither, where the operation itself was destroyed on its way
//
// A hook belongs to the handle on which it is registered: on any but the innermost open savepoint's, or after the end, that is
// `errc::misuse`, thrown, and nothing is registered.
//
// What a hook throws is dropped and the others run: what has happened has happened. One that wants to be heard catches by itself.
#ifndef STRATA_TRANSACTION_HOOKS_HPP
#define STRATA_TRANSACTION_HOOKS_HPP

#include <strata/core/error.hpp>
#include <strata/core/operation.hpp>
#include <strata/core/transaction_use.hpp>

#include <chrono>
#include <thread>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A list in the order of registration. Each hook is one allocation; the list has none of its own.
class transaction_hooks {
    struct hook {
        explicit hook(bool c) noexcept : after_commit(c) {}
        hook(const hook&) = delete;
        hook& operator=(const hook&) = delete;
        virtual ~hook() = default;
        virtual void run() = 0;
        hook* next = nullptr;
        const bool after_commit;
    };
    template <class F>
    struct hook_of final : hook {
        template <class G>
        hook_of(bool c, G&& g) : hook(c), function(std::forward<G>(g)) {}
        void run() override { function(); }
        F function;
    };

public:
    /// The newest hook at that time; what comes after it is younger.
    using mark = hook*;

    transaction_hooks() noexcept = default;
    transaction_hooks(const transaction_hooks&) = delete;
    transaction_hooks& operator=(const transaction_hooks&) = delete;
    ~transaction_hooks() {
        if (first_ != nullptr) [[unlikely]]
            drop(nullptr);
    }

    template <class F>
    void add(bool after_commit, F&& f) {
        static_assert(std::is_invocable_r_v<void, std::decay_t<F>&> && std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>,
                      "strata: a hook of a transaction is a plain function without arguments that returns nothing: write "
                      "tx.on_commit([&] { ... })");
        hook* const h = new hook_of<std::decay_t<F>>(after_commit, std::forward<F>(f));
        (last_ != nullptr ? last_->next : first_) = h;
        last_ = h;
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] mark now() const noexcept { return last_; }

    /// Runs those of one kind that are younger than `since` (null: all) and drops these and the others.
    STRATA_COLD void run(bool after_commit, mark since = nullptr) noexcept {
        hook* h = since != nullptr ? std::exchange(since->next, nullptr) : std::exchange(first_, nullptr);
        last_ = since;
        while (h != nullptr) {
            hook* const next = h->next;
            if (h->after_commit == after_commit) {
                try {
                    h->run();
                } catch (...) {
                }
            }
            delete h;
            h = next;
        }
    }
    STRATA_COLD void drop(mark since) noexcept {
        hook* h = since != nullptr ? std::exchange(since->next, nullptr) : std::exchange(first_, nullptr);
        last_ = since;
        while (h != nullptr) delete std::exchange(h, h->next);
    }

private:
    hook* first_ = nullptr;
    hook* last_ = nullptr;
};

/// What lies beside a transaction from its first attempt to its last.
struct transaction_state {
    transaction_use use;
    transaction_hooks hooks;

    /// By the handle of the level `depth`. Throws `failure`, `misuse`, where that is not the one to be used now: what it registers would be
    /// dropped with a savepoint that is not its own, or never run.
    template <class F>
    void add_hook(unsigned depth, bool after_commit, F&& f) {
        if (!use.is_open(depth)) [[unlikely]]
            throw_failure(use.refusal());
        hooks.add(after_commit, std::forward<F>(f));
    }

    /// After the last attempt, when the connection has gone back. `e`: how it ended, no error after a commit.
    void run_hooks(error& e) noexcept {
        if (!hooks.empty()) [[unlikely]]
            run_after(e);
    }
    /// Before another attempt: what was to follow the rollback of the one before.
    void run_before_attempt() noexcept {
        if (!hooks.empty()) [[unlikely]]
            hooks.run(false);
    }

    /// Another thread uses the connection at the end of the closure: its statement is cancelled, and waited for.
    STRATA_COLD error end_late(operation_base& op) {
        op.cancelled.store(true, std::memory_order_relaxed);
        while (!use.try_end()) std::this_thread::sleep_for(std::chrono::microseconds{200});
        op.cancelled.store(false, std::memory_order_relaxed);
        return use.doom_unfinished();
    }

private:
    STRATA_COLD void run_after(error& e) noexcept {
        if (!e) return hooks.run(true);
        if (e.effect() != effect::unknown) return hooks.run(false);
        hooks.drop(nullptr);
        try {
            std::string& detail = e.edit_texts().detail;
            detail.append(detail.empty() ? "" : "; ").append("neither on_commit nor on_rollback was run");
        } catch (...) {  // no memory
        }
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Independent work of the asynchronous face; see strata/independent.hpp.
#ifndef STRATA_ASYNC_INDEPENDENT_HPP
#define STRATA_ASYNC_INDEPENDENT_HPP

#include <strata/async/calls.hpp>
#include <strata/async/home.hpp>
#include <strata/async/stream.hpp>
#include <strata/async/transaction.hpp>
#include <strata/independent.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The runtime, and the pool that is kept for independent work.
template <class Runtime>
class reserved_home : public runtime_home<Runtime> {
public:
    using source_type = reserve_type<Runtime>;
    explicit reserved_home(std::shared_ptr<Runtime> rt) : runtime_home<Runtime>(std::move(rt)), source_(&reserve_of(this->runtime())) {}
    [[nodiscard]] source_type& source() noexcept { return *source_; }

private:
    source_type* source_;
};

}  // namespace detail

/// Calls and transactions on the reserved connections; they pass all layers of the stack as any others. Cheap to copy.
template <class Runtime>
class async_independent_database : public async_calls<async_independent_database<Runtime>>,
                                   public detail::async_extensions<async_independent_database<Runtime>, typename Runtime::interceptors> {
    using home_type = detail::reserved_home<Runtime>;

public:
    using driver = typename Runtime::driver;
    using transaction_type = async_transaction_handle<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// `async_database::independent()`.
    async_independent_database(std::shared_ptr<Runtime> rt, asio_world w) : home_(std::move(rt)), world_(std::move(w)) {}

    /// As `async_database::async_transaction`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return run<detail::throwing<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return run<detail::trying<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), std::forward<Token>(token));
    }

    // For `async_calls`.
    [[nodiscard]] home_type home() { return home_; }
    [[nodiscard]] static unsigned depth_of_batch() noexcept { return 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<home_type, Bound, T, false>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    template <class Form, class Closure, class Token>
    auto run(Closure closure, Token&& token) {
        using job = detail::transaction_job<home_type, Closure, Form>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), transaction_options<driver>{});
    }

    home_type home_;
    asio_world world_;
};

}  // namespace strata::inline STRATA_ABI

#endif

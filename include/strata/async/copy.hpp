// COPY, asynchronously: one operation and one hop to a work thread for all its rows. What `strata/copy.hpp` says holds here.
#ifndef STRATA_ASYNC_COPY_HPP
#define STRATA_ASYNC_COPY_HPP

#include <strata/async/calls.hpp>
#include <strata/copy.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

// As of all options: written in braces inside a co_await, where g++ 12 destroys an aggregate's members twice.
static_assert(std::is_trivially_destructible_v<copy_options>);

/// A stream is not copied.
template <class Stream>
struct stream_reference {
    Stream* to;
    decltype(auto) write(const char* data, std::ptrdiff_t size) const { return to->write(data, size); }
};
template <class Sink>
[[nodiscard]] auto kept_sink(Sink&& sink) {
    using plain = std::remove_cvref_t<Sink>;
    if constexpr (std::is_copy_constructible_v<plain> || !std::is_lvalue_reference_v<Sink>)
        return plain(std::forward<Sink>(sink));
    else
        return stream_reference<plain>{&sink};
}

/// `Where` is a table or a source, `With` the rows or the function; the job owns both. `Copy` is the driver's.
template <class Home, class Where, class With, class Copy, class Form, bool InsideTransaction>
class copy_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_copy(InsideTransaction)>;
    using work_type = copy_work<runtime_type, Copy>;

public:
    using form = Form;

    copy_job(Home home, unsigned depth, Where where, With with, const copy_options& o)
        : home_(std::move(home)), where_(std::move(where)), with_(std::move(with)), options_(o), copy_(where_, with_, options_),
          work_(home_.runtime(), copy_, depth), flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        if constexpr (std::is_same_v<Where, copy_source>) {
            op_.statement = where_.query;
            op_.reads_only = true;
        } else {
            name_ = where_.name().quoted();
            op_.statement = name_;
        }
        op_.tags = o.tags;
        op_.priority = o.priority;
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if (!a.failed && !a.thrown) a.value.emplace(copy_.done());
        return a;
    }

private:
    Home home_;
    Where where_;
    With with_;
    copy_options options_;
    std::string name_;
    Copy copy_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

template <class Session>
struct async_copy_calls<Session, true> {
    template <template <class> class Form, class Rows, class Token>
    static auto in(Session& session, const copy_table& table, Rows&& rows, Token&& token, const copy_options& o = {}) {
        using range = std::remove_cvref_t<Rows>;
        using driver = typename checked<Session>::driver;
        return begin<typename driver::template copy_in<range>, Form<copied>>(session, table, range(std::forward<Rows>(rows)), o,
                                                                             std::forward<Token>(token));
    }
    template <class T, template <class> class Form, class Source, class F, class Token>
    static auto out(Session& session, const Source& source, F&& each_row, Token&& token, const copy_options& o = {}) {
        using function = std::remove_cvref_t<F>;
        using driver = typename checked<Session>::driver;
        return begin<typename driver::template copy_out<T, function>, Form<copied>>(
            session, as_copy_source<driver>(source), function(std::forward<F>(each_row)), o, std::forward<Token>(token));
    }

    template <template <class> class Form, class Source, class Sink, class Token>
    static auto raw(Session& session, const Source& source, Sink&& sink, Token&& token, const copy_options& o = {}) {
        using kept = decltype(kept_sink(std::forward<Sink>(sink)));
        using driver = typename checked<Session>::driver;
        return begin<typename driver::template copy_raw<kept>, Form<copied>>(
            session, as_copy_source<driver>(source), kept_sink(std::forward<Sink>(sink)), o, std::forward<Token>(token));
    }

private:
    template <class S>
    struct checked {
        static_assert(requires(S& s) { s.home(); }, "strata: COPY needs a session whose type is known, not strata::any_async_session");
        using driver = typename S::driver;
        static constexpr bool copies = (assert_copy<driver>(), true);
    };

    template <class Copy, class Form, class Where, class With, class Token>
    static auto begin(Session& session, Where where, With with, const copy_options& o, Token&& token) {
        static_assert(checked<Session>::copies);
        using job = copy_job<decltype(session.home()), Where, With, Copy, Form, Session::where == scope::transaction>;
        return start<job>(session.world(), std::forward<Token>(token), session.home(), session.depth_of_batch(), std::move(where),
                          std::move(with), o);
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

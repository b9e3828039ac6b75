// Rows in bulk: into a table from any range, out of a table or a query to a function, columns or a file.
//
//   db.copy_in("account", accounts);                                  // structs by their members' names, or tuples
//   db.copy_out<account>("account", [&](const account& a) { ... });   // one row after the other, in bounded memory
//   db.copy_out("account", std::tie(ids, owners));                    // into a vector for each column
//   db.copy_to("select * from account"_sql, std::cout, {.format = strata::copy_format::csv, .header = true});
//
// One operation, admitted as a whole, all or nothing: in a transaction of its own, and inside a transaction behind a savepoint. Names
// of tables and columns are quoted, so they are taken as they are written, capital letters and all. For drivers that have COPY.
#ifndef STRATA_COPY_HPP
#define STRATA_COPY_HPP

#include <strata/calls.hpp>
#include <strata/copy_work.hpp>
#include <strata/perform.hpp>

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Session>
struct copy_calls<Session, true> {
    template <class Rows>
    static result<copied> in(Session& session, const copy_table& table, Rows& rows, const copy_options& o) {
        assert_session();
        typename Session::driver::template copy_in<Rows> copy{table, rows, o};
        return perform(session, copy, o, table.name().quoted(), false);
    }
    template <class T, class Source, class F>
    static result<copied> out(Session& session, const Source& source, F& each_row, const copy_options& o) {
        assert_session();
        const copy_source from = as_copy_source<typename Session::driver>(source);
        typename Session::driver::template copy_out<T, F> copy{from, each_row, o};
        return perform(session, copy, o, from.query, true);
    }
    template <class Source, class... T>
    static result<copied> columns(Session& session, const Source& source, const std::tuple<std::vector<T>&...>& into,
                                  const copy_options& o) {
        static_assert(sizeof...(T) > 0, "strata: copy_out needs a vector for each column: std::tie(ids, owners)");
        const std::tuple before = std::apply([](const auto&... c) { return std::tuple{c.size()...}; }, into);
        const auto each = [&](auto&& f) {
            [&]<std::size_t... I>(std::index_sequence<I...>) {
                (f(std::get<I>(into), std::integral_constant<std::size_t, I>{}), ...);
            }(std::index_sequence_for<T...>{});
        };
        const auto undo = [&] {
            each([&](auto& c, auto i) { c.erase(c.begin() + static_cast<std::ptrdiff_t>(std::get<i>(before)), c.end()); });
        };
        auto append = [&](std::tuple<T...>& row) { each([&](auto& c, auto i) { c.push_back(std::move(std::get<i>(row))); }); };
        try {
            result<copied> done = out<std::tuple<T...>>(session, source, append, o);
            if (!done) undo();
            return done;
        } catch (...) {
            undo();
            throw;
        }
    }
    template <class Source, class Sink>
    static result<copied> raw(Session& session, const Source& source, Sink& sink, const copy_options& o) {
        assert_session();
        const copy_source from = as_copy_source<typename Session::driver>(source);
        typename Session::driver::template copy_raw<Sink> copy{from, sink, o};
        return perform(session, copy, o, from.query, true);
    }

private:
    static constexpr void assert_session() {
        static_assert(requires { typename Session::driver; }, "strata: COPY needs a session whose type is known, not strata::any_session");
        if constexpr (requires { typename Session::driver; }) assert_copy<typename Session::driver>();
    }
    template <class Copy>
    static result<copied> perform(Session& session, Copy& copy, const copy_options& o, std::string_view statement, bool reads) {
        error e = session.on_source([&](auto& rt, auto& source, unsigned depth, const interruption* outer) {
            copy_work<std::remove_reference_t<decltype(rt)>, Copy> work{rt, copy, depth};
            operation<facts_of_copy(Session::where == scope::transaction)> op;
            op.statement = statement;
            op.tags = o.tags;
            op.priority = o.priority;
            op.reads_only = reads;
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            return perform_work(rt, source, op, work);
        });
        if (e) return e;
        return copy.done();
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

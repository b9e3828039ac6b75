// Everything about a statement's columns that does not fit a row type: where `row_decoder<T>::plan` stops at the first misfit, this goes
// on.
#ifndef STRATA_VALUE_ROW_FIT_HPP
#define STRATA_VALUE_ROW_FIT_HPP

#include <strata/value/row_decoder.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

/// One column that is wanted as an M; `column` is -1 where its name is to be found.
template <class M, row_reader Row, class Report>
void check_column(const Row& meta, const wanted_column& wanted, int column, Report& report) {
    error e;
    if (column < 0) {
        row_plan found;
        e = plan_columns(meta, {&wanted, 1}, found);
        if (!e) column = found.columns(1)[0];
    }
    const std::uint16_t at = static_cast<std::uint16_t>(column);
    if (!e) e = check_types<M>(meta, {&wanted, 1}, &at);
    if (e) report(wanted, column, std::move(e));
}

/// Calls `report(const wanted_column&, int column, error)` for each misfit; -1 for a column that is not there.
template <class T>
struct row_fit {  // one column
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        row_fit<std::tuple<T>>::check(meta, report);
    }
};

template <class T>
    requires(!struct_row<T> && !has_codec<T>)
struct row_fit<T> {  // a row type with a decoder of its own
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        row_plan p;
        if (error e = row_decoder<T>::plan(meta, p)) report(wanted_column{{}, "row", {}, {}}, -1, std::move(e));
    }
};

template <struct_row T>
struct row_fit<T> {
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        if (meta.size() == 0) return report(wanted_column{{}, "row", {}, {}}, -1, no_columns_error());
        each(members<T>{}, std::make_index_sequence<member_count<T>>{}, meta, report);
    }

private:
    template <class... M, std::size_t... I, row_reader Row, class Report>
    static void each(member_list<M...>, std::index_sequence<I...>, const Row& meta, Report& report) {
        (check_column<member_type<M, T>>(meta, wanted_as<member_type<M, T>>(column_names<T>[I]), -1, report), ...);
    }
};

template <class... E>
struct row_fit<std::tuple<E...>> {
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        const wanted_column wanted[] = {wanted_as<E>({})..., {}};
        if (static_cast<std::size_t>(meta.size()) != sizeof...(E))
            return report(wanted_column{{}, "row", {}, {}}, -1,
                          column_count_error(static_cast<std::size_t>(meta.size()), {wanted, sizeof...(E)}));
        int i = 0;
        ((check_column<E>(meta, wanted[i], i, report), ++i), ...);
    }
};

template <class A, class B>
struct row_fit<std::pair<A, B>> : row_fit<std::tuple<A, B>> {};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

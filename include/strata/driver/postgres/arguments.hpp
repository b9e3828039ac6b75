// A bound statement's arguments into the writer: shared by the single statement and the flight of several.
#ifndef STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP
#define STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP

#include <strata/driver/postgres/writer.hpp>
#include <strata/value/codec.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace strata::inline STRATA_ABI {
namespace detail {

/// The first argument that could not be written: its number from 1 (0: none), why, and the name of its type.
struct refused_argument {
    int number = 0;
    errc why = errc::ok;
    std::string_view type = {};
};

template <class Bound>
[[nodiscard]] refused_argument write_arguments(const Bound& statement, postgres_writer& out) {
    refused_argument r;
    statement.for_each_argument([&](std::size_t index, const auto& value) {
        using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
        if (r.number != 0) return;
        const int number = static_cast<int>(index) + 1;
        errc why = value_codec::write(out, value);
        if (why == errc::ok) why = out.refused();
        if (why == errc::ok && out.written() != number) why = errc::misuse;  // a codec must write exactly once
        if (why != errc::ok) r = {number, why, value_codec::name};
    });
    return r;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What the server says of a statement that it has prepared: its columns, and the types of its parameters.
//
// Before a call, so that a test or a start can hold all of them against the C++ types that they are used with. That is stricter than a
// call, for which the server parses a text, whatever it is for.
#ifndef STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP
#define STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP

#include <strata/driver/postgres/reader.hpp>
#include <strata/sql/arguments.hpp>
#include <strata/value/codec.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// What an argument's type is beneath what holds it.
template <class T>
struct sent_as {
    using type = T;
    static constexpr bool list = false;
};
template <>
struct sent_as<c_text> : sent_as<std::string_view> {};
template <class T>
struct sent_as<std::optional<T>> : sent_as<T> {};
template <class Kept>
struct sent_as<typed<Kept>> : sent_as<std::remove_cvref_t<Kept>> {};
template <reference_like T>
struct sent_as<T> : sent_as<std::remove_cv_t<typename T::type>> {};
template <class T>
struct list_sent {
    using type = T;
    static constexpr bool list = true;
};
template <class T>
    requires(!std::is_same_v<T, std::byte>)
struct sent_as<std::vector<T>> : list_sent<T> {};
template <class T>
    requires(!std::is_same_v<std::remove_const_t<T>, std::byte>)
struct sent_as<std::span<T>> : list_sent<std::remove_const_t<T>> {};

/// True when a T can be an argument for a parameter of the type `to`: as the writer sends it, and no text for a number.
template <class T>
[[nodiscard]] bool fits_parameter(const postgres_type& to) {
    using sent = sent_as<T>;
    using value = typename sent::type;
    if constexpr (sent::list) {
        return to.is(nesting::array) && fits_parameter<value>(to.part());
    } else if constexpr (requires { codec<value>::fits(to); }) {
        return codec<value>::fits(to);
    } else {
        constexpr column_classes takes = classes_of<value>();
        const column_type found = to.type();
        const bool decimal = to.server_type() == oid::numeric;
        if constexpr (takes.has(column_type::other) || takes.has(column_type::text))
            return takes.has(found);
        else if constexpr (takes.has(column_type::boolean))
            return found == column_type::boolean;
        else if constexpr (takes.has(column_type::real))
            return found == column_type::real || decimal;
        else if constexpr (takes.has(column_type::integer))
            return found == column_type::integer || found == column_type::real || decimal || to.server_type() == oid::money;
        else
            return takes.has(found);
    }
}

}  // namespace detail

/// The columns of a prepared statement (models `row_reader`; there is no row) and its parameters, counted from 0.
class postgres_description : public postgres_row {
public:
    postgres_description(const PGresult* described, detail::reading_memory& memory) noexcept
        : postgres_row(described, -1, memory), described_(described), types_(memory.types) {}

    [[nodiscard]] int parameters() const noexcept { return ::PQnparams(described_); }
    /// As the server names it; empty for a type without a name here.
    [[nodiscard]] std::string_view parameter_type(int i) const noexcept { return types_.name(::PQparamtype(described_, i)); }
    /// Whether a T fits the parameter.
    template <class T>
    [[nodiscard]] bool takes(int i) const {
        return detail::fits_parameter<T>(postgres_type{::PQparamtype(described_, i), types_});
    }

private:
    const PGresult* described_;
    const detail::type_catalogue& types_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Arguments of run-time statements: values of any type that write themselves, one virtual call each.
#ifndef STRATA_SQL_ERASED_ARGUMENT_HPP
#define STRATA_SQL_ERASED_ARGUMENT_HPP

#include <strata/sql/typed_argument.hpp>
#include <strata/value/codec.hpp>
#include <strata/value/erased.hpp>

#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// A value, or a list of values, whose type is forgotten. Immutable and shared by the copies of a statement.
class argument_value {
public:
    virtual ~argument_value() = default;
    argument_value(const argument_value&) = delete;
    argument_value& operator=(const argument_value&) = delete;

    static constexpr std::size_t whole = ~std::size_t{0};
    /// Writes the value, or one element of the list.
    virtual errc write(any_parameter_writer& out, std::size_t element) const = 0;
    /// True for what can be one parameter.
    [[nodiscard]] virtual bool is_value() const noexcept = 0;
    /// Number of elements; `whole` for what is no list.
    [[nodiscard]] virtual std::size_t elements() const noexcept = 0;
    /// As `type_of_argument`.
    [[nodiscard]] virtual std::string_view type() const noexcept = 0;

protected:
    argument_value() = default;
};

template <class T>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<const T&>()))>;

/// Ranges of values that have codecs; texts are none, and neither are ranges of themselves.
template <class T>
concept list_like = !std::is_convertible_v<const T&, std::string_view> && requires(const T& list) {
    std::begin(list);
    std::end(list);
    requires !std::is_same_v<element_of<T>, T> && has_codec<element_of<T>>;
};

/// `Value`: it is named in the type because another source file may know no codec of T, and must not share this class then.
template <class T, bool Value = has_codec<T> || !list_like<T>>
class held_argument final : public argument_value {
    static constexpr bool list = list_like<T>;

public:
    explicit held_argument(T value) : value_(std::move(value)) {}

    errc write(any_parameter_writer& out, std::size_t element) const override {
        if constexpr (list) {
            if (element != whole) {
                const auto& one = *std::next(std::begin(value_), static_cast<std::ptrdiff_t>(element));
                return codec<element_of<T>>::write(out, one);
            }
        }
        static_cast<void>(element);
        if constexpr (Value)
            return codec<T>::write(out, value_);
        else
            return errc::unsupported;
    }
    [[nodiscard]] bool is_value() const noexcept override { return Value; }
    [[nodiscard]] std::size_t elements() const noexcept override {
        if constexpr (list)
            return static_cast<std::size_t>(std::distance(std::begin(value_), std::end(value_)));
        else
            return whole;
    }
    [[nodiscard]] std::string_view type() const noexcept override { return type_of_argument(value_); }

private:
    T value_;
};

/// Keeps a value, or a list; a list whose elements cannot be reached by their index as a vector of them.
template <class T>
[[nodiscard]] std::shared_ptr<const argument_value> hold_argument(T value) {
    if constexpr (list_like<T> && !has_codec<T>) {
        using list = std::vector<element_of<T>>;
        if constexpr (!std::random_access_iterator<decltype(std::begin(value))> && !std::is_same_v<T, list>)
            return std::make_shared<const held_argument<list>>(list(std::begin(value), std::end(value)));
        else
            return std::make_shared<const held_argument<T>>(std::move(value));
    } else {
        return std::make_shared<const held_argument<T>>(std::move(value));
    }
}

}  // namespace detail

/// One argument of a `strata::statement`: a reference to its value, or to one element of a list, which the statement
/// keeps alive. Cheap to copy.
class erased_argument {
public:
    explicit erased_argument(const detail::argument_value& value, std::size_t element = detail::argument_value::whole) noexcept
        : value_(&value), element_(element) {}

    /// Writes the value by its codec; returns what the codec returns.
    errc write(any_parameter_writer& out) const { return value_->write(out, element_); }
    /// The name of its type in the database, where it was said (`as`); else empty.
    [[nodiscard]] std::string_view type_in_database() const noexcept { return value_->type(); }

private:
    const detail::argument_value* value_;
    std::size_t element_;
};

/// Hands the argument a driver's writer behind virtual calls.
template <>
struct codec<erased_argument> {
    static constexpr std::string_view name = "argument";

    template <parameter_writer W>
    static errc write(W& out, const erased_argument& argument) {
        if constexpr (std::is_base_of_v<any_parameter_writer, W>) {
            return argument.write(out);
        } else {
            erased_writer<W> writer{out};
            return argument.write(writer);
        }
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

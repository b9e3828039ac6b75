// Where parameters go when the driver's type is not known: run-time statements and erased sessions write here.
#ifndef STRATA_VALUE_ANY_WRITER_HPP
#define STRATA_VALUE_ANY_WRITER_HPP

#include <strata/value/column.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// A parameter writer behind virtual calls: one call a parameter. The members mean what they mean in the concept
/// `parameter_writer`: `text` and `blob` must live until the call ends, `text_copy` and `blob_copy` are copied.
class any_parameter_writer {
public:
    virtual void null() = 0;
    virtual void boolean(bool value) = 0;
    virtual void integer(std::int64_t value) = 0;
    virtual void real(double value) = 0;
    virtual void text(std::string_view value) = 0;
    virtual void text_copy(std::string_view value) = 0;
    virtual void blob(std::span<const std::byte> value) = 0;
    virtual void blob_copy(std::span<const std::byte> value) = 0;
    /// A point of time in microseconds since 1970 UTC, as the database's own type; false, and nothing is written, where it has none.
    [[nodiscard]] virtual bool timestamp_since_1970(std::int64_t) { return false; }
    /// Values that hold values, where the database has them; see nested.hpp.
    [[nodiscard]] virtual bool open(nesting, std::span<const array_dimension>, std::uint8_t) { return false; }
    [[nodiscard]] virtual bool close() { return true; }
    [[nodiscard]] virtual std::string_view part_name(std::size_t) const { return {}; }

protected:
    any_parameter_writer() = default;
    any_parameter_writer(const any_parameter_writer&) = default;
    any_parameter_writer& operator=(const any_parameter_writer&) = default;
    ~any_parameter_writer() = default;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a COPY is told: where, in which form, within which time, and whom to tell how far it has come.
#ifndef STRATA_VALUE_COPY_OPTIONS_HPP
#define STRATA_VALUE_COPY_OPTIONS_HPP

#include <strata/core/operation.hpp>
#include <strata/sql/identifier.hpp>
#include <strata/value/mapping.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

/// The form of a COPY. `automatic`: binary where each column's type has a binary form for its C++ type, else text; raw output: text.
enum class copy_format : std::uint8_t { automatic, binary, text, csv };

/// How much a COPY has moved.
struct copied {
    std::int64_t rows = 0;   ///< when it has ended: as the server counts them; 0 so far where the rows are not parted
    std::int64_t bytes = 0;  ///< of data, in the form of the COPY
};

/// Who is told of the progress: any callable of `const copied&`, which is not copied and must live until the call has ended. Called
/// by the thread that works, about once a buffer. What it throws ends the copy.
class copy_progress {
public:
    copy_progress() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, copy_progress> && std::is_invocable_v<F&, const copied&>)
    copy_progress(F&& f) noexcept
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, const copied& done) { (*static_cast<std::remove_reference_t<F>*>(object))(done); }) {}

    void operator()(const copied& done) const {
        if (call_ != nullptr) call_(object_, done);
    }

private:
    void* object_ = nullptr;
    void (*call_)(void*, const copied&) = nullptr;
};

/// What a caller may say about a COPY.
struct copy_options {
    duration deadline{};             ///< from the start of the call; zero: none of its own
    std::span<const tag> tags = {};  ///< for logs and metrics; must live as long as the call
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    copy_format format = copy_format::automatic;
    bool header = false;             ///< raw output as CSV: a first line with the columns' names
    std::size_t buffer = 64 * 1024;  ///< bytes that may wait in this process to be sent, besides one row
    copy_progress progress = {};
};

/// A table and its columns. Without columns: those of the struct's members, or for tuples all of the table's.
class copy_table {
public:
    copy_table(const char* name) : name_(name) {}
    copy_table(std::string_view name) : name_(std::string{name}) {}
    copy_table(const std::string& name) : name_(name) {}
    copy_table(identifier name, std::vector<std::string> names_of_columns = {})
        : name_(std::move(name)), columns_(std::move(names_of_columns)) {}
    copy_table(const char* name, std::vector<std::string> names_of_columns) : name_(name), columns_(std::move(names_of_columns)) {}

    [[nodiscard]] const identifier& name() const noexcept { return name_; }
    [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }

private:
    identifier name_;
    std::vector<std::string> columns_;
};

/// The table that `mapping<T>` names.
template <adapted_struct T>
[[nodiscard]] copy_table table_of() {
    static_assert(
        requires { mapping<T>::table; }, "strata: name the table: static constexpr std::string_view table = ...; in strata::mapping<T>");
    if constexpr (requires { mapping<T>::table; })
        return copy_table{std::string_view{mapping<T>::table}};
    else
        return copy_table{""};  // says nothing more
}

/// Where raw output may go, besides streams and functions: a file, pipe or socket that the caller has opened and will close.
struct file_descriptor {
    int number = -1;
};

namespace detail {

/// What is copied out: a table, or a query without parameters.
struct copy_source {
    copy_table table{""};
    std::string query = {};  // goes before the table
    error wrong = {};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Where the columns of a row type are in a statement's result: looked up once a statement, not per row.
#ifndef STRATA_VALUE_ROW_PLAN_HPP
#define STRATA_VALUE_ROW_PLAN_HPP

#include <strata/core/config.hpp>
#include <strata/core/heap_array.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace strata::inline STRATA_ABI {

/// Made by `row_decoder<T>::plan`, kept by a driver beside the prepared statement under `tag`, and made anew when the rows are
/// wanted as another type or the statement was prepared anew. Move-only; reading it from one thread at a time is up to the connection.
class row_plan {
public:
    /// So many columns need no memory of their own.
    static constexpr std::size_t inline_columns = 16;

    /// Which row type it was made for; nullptr: for none that needs columns.
    const void* tag = nullptr;
    /// What a decoder of dynamic rows keeps: names and types of the columns, shared with its rows.
    std::shared_ptr<const void> layout;

    /// Makes room for `count` columns, all of them number 0.
    void reset(std::size_t count) {
        if (count > inline_columns) more_ = detail::heap_array<std::uint16_t>(count);
        for (std::uint16_t& i : few_) i = 0;
        count_ = count;
        layout = nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    void set(std::size_t i, int column) noexcept {
        (count_ > inline_columns ? more_.data() : few_)[i] = static_cast<std::uint16_t>(column);
    }

    /// The column of each member. `count` is what was given to `reset`: known at compile time, so that no branch is left.
    [[nodiscard]] const std::uint16_t* columns(std::size_t count) const noexcept { return count > inline_columns ? more_.data() : few_; }

private:
    std::uint16_t few_[inline_columns]{};
    std::size_t count_ = 0;
    detail::heap_array<std::uint16_t> more_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a flight of statements knows of each: what it sends, who takes the answer, and its own notes on it.
#ifndef STRATA_DRIVER_POSTGRES_FLOWN_HPP
#define STRATA_DRIVER_POSTGRES_FLOWN_HPP

#include <strata/driver/postgres/arguments.hpp>
#include <strata/driver/postgres/reader.hpp>
#include <strata/driver/postgres/statement_cache.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// One statement of a flight, or one for each element of a range.
class postgres_flown {
public:
    /// Fills in the five facts.
    virtual void describe() = 0;
    [[nodiscard]] virtual refused_argument bind(std::size_t element, postgres_writer& out) = 0;
    /// The types that arguments say themselves, by their number from 0.
    virtual void each_type(const std::function<void(std::size_t, std::string_view)>& f) const = 0;
    [[nodiscard]] virtual const void* tag() const noexcept = 0;
    [[nodiscard]] virtual error plan(const postgres_row& meta, row_plan& p) = 0;
    /// Takes the rows of an element's answer; sets the error when it cannot.
    virtual void read(std::size_t element, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) = 0;
    /// Each element ends once; one without an error, whose count nobody wants, need not be told.
    virtual void end(std::size_t element, error e, std::int64_t affected) = 0;

    const descriptor* what = nullptr;
    bool literal = false;
    bool only_reads = false;
    bool wants_count = true;
    bool has_types = true;  // arguments may say theirs
    std::size_t count = 0;

    /// The same for all of one text.
    [[nodiscard]] std::uint64_t key() const noexcept { return what->hash.low; }

    // The flight's notes.
    std::size_t first = 0;                // the number of its first statement
    prepared_statement* entry = nullptr;  // valid in the round that found it
    const row_plan* columns = nullptr;
    row_plan own_plan;
    std::vector<::Oid> types;  // of typed arguments, where nothing is prepared
    unsigned round = 0;
    bool renewed = false;  // its prepared statement was stale once
    error refusal;         // it cannot be sent

protected:
    ~postgres_flown() = default;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

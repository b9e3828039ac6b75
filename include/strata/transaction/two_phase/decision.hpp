// What a coordinator of distributed transactions decides and remembers, and how that is written as bytes.
//
// The bytes are the same in a decision log and in the table of an SQLite file that decides: numbers least byte first, texts behind
// their length. Read within their bounds, whatever they are.
#ifndef STRATA_TRANSACTION_TWO_PHASE_DECISION_HPP
#define STRATA_TRANSACTION_TWO_PHASE_DECISION_HPP

#include <strata/core/config.hpp>

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {

/// One distributed transaction of a coordinator: the opening of its log, and a number since then. No two are ever equal.
struct transaction_number {
    std::uint32_t opening = 0;
    std::uint64_t number = 0;
    friend auto operator<=>(const transaction_number&, const transaction_number&) = default;
};

/// A database, whatever its address is today: its server's system identifier and its oid there.
struct database_identity {
    std::uint64_t server = 0;
    std::uint64_t database = 0;
    friend bool operator==(const database_identity&, const database_identity&) = default;
};

/// The part of a distributed transaction that was prepared in one database.
struct prepared_branch {
    std::uint32_t branch = 0;  ///< which participant it was, from 0
    database_identity where;
    std::uint64_t transaction_id = 0;  ///< the database's own number of it
    friend bool operator==(const prepared_branch&, const prepared_branch&) = default;
};

/// That a transaction is committed: each of its branches must be, now or later.
struct decision {
    transaction_number id;
    std::vector<prepared_branch> branches;
    friend bool operator==(const decision&, const decision&) = default;
};

/// Somebody ended a prepared branch by hand, and not as the coordinator had decided: its transaction took place in part.
struct heuristic_outcome {
    transaction_number id;
    prepared_branch branch;
    bool committed = false;  ///< the branch was committed and the others rolled back; false: the other way round
    friend bool operator==(const heuristic_outcome&, const heuristic_outcome&) = default;
};

namespace detail {

class byte_writer {
public:
    explicit byte_writer(std::string& out) noexcept : out_(out) {}
    template <std::unsigned_integral T>
    void number(T n) {
        for (std::size_t i = 0; i < sizeof(T); ++i) out_ += static_cast<char>(static_cast<unsigned char>(n >> (8 * i)));
    }
    void text(std::string_view s) {
        number(static_cast<std::uint32_t>(s.size()));
        out_ += s;
    }

private:
    std::string& out_;
};

/// Reads what is there, and zeros beyond; `whole()` tells whether the bytes were what was asked for, and no more.
class byte_reader {
public:
    explicit byte_reader(std::string_view bytes) noexcept : rest_(bytes) {}
    template <std::unsigned_integral T>
    void number(T& n) noexcept {
        n = 0;
        const std::string_view bytes = take(sizeof(T));
        for (std::size_t i = 0; i < bytes.size(); ++i)
            n = static_cast<T>(n | static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    }
    void text(std::string& s) {
        std::uint32_t size = 0;
        number(size);
        s = take(size);
    }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
    [[nodiscard]] bool whole() const noexcept { return !short_ && rest_.empty(); }

private:
    [[nodiscard]] std::string_view take(std::size_t n) noexcept {
        short_ = short_ || n > rest_.size();
        if (short_) return {};
        const std::string_view taken = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return taken;
    }

    std::string_view rest_;
    bool short_ = false;
};

/// One order of the fields for both ways: `visit` is a writer or a reader.
template <class Visit, class Id>
void visit_fields(Visit&& visit, Id& id)
    requires std::same_as<std::remove_const_t<Id>, transaction_number>
{
    visit.number(id.opening);
    visit.number(id.number);
}
template <class Visit, class Branch>
void visit_fields(Visit&& visit, Branch& b)
    requires std::same_as<std::remove_const_t<Branch>, prepared_branch>
{
    visit.number(b.branch);
    visit.number(b.where.server);
    visit.number(b.where.database);
    visit.number(b.transaction_id);
}
inline constexpr std::size_t branch_bytes = 28;

inline void write_decision(std::string& out, const decision& d) {
    byte_writer w{out};
    visit_fields(w, d.id);
    w.number(static_cast<std::uint32_t>(d.branches.size()));
    for (const prepared_branch& b : d.branches) visit_fields(w, b);
}
[[nodiscard]] inline bool read_decision(std::string_view bytes, decision& d) {
    byte_reader r{bytes};
    std::uint32_t count = 0;
    visit_fields(r, d.id);
    r.number(count);
    if (r.left() != count * branch_bytes) return false;
    d.branches.resize(count);
    for (prepared_branch& b : d.branches) visit_fields(r, b);
    return r.whole();
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

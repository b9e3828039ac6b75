// Generated from include/strata/sql/cursor.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_SQL_CURSOR_HPP
#define STRATA_SINGLE_SQL_CURSOR_HPP

#include <strata/strata.hpp>
#include <strata/sql/statement.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

// A cursor of the server: a query whose rows are made when they are fetched, and not before.
//
//   strata::cursor large{"select * from account where balance > :least"_sql("least"_arg = 0), 1000};
//   db.transaction([&](auto& tx) {
//       tx.execute(large.declare());
//       for (auto batch = tx.template all<account>(large.fetch()); !batch.empty(); batch = tx.template all<account>(large.fetch())) ...
//   });
//
// It is three statements, which every kind of transaction can run: blocking, asynchronous, erased. A stream by `rows()` needs no
// transaction and fewer round trips; but there the server works ahead until the network holds it up.
#ifndef STRATA_SQL_CURSOR_HPP
#define STRATA_SQL_CURSOR_HPP

namespace strata::inline STRATA_ABI {

/// PostgreSQL only, and within one transaction: `declare()` once, `fetch()` until it gives no rows. It ends by `close()` or with the
/// transaction. Immutable; the same object can be declared again in the next transaction, or the next attempt of a closure.
class cursor {
public:
    /// For a query, with its arguments, which are copied as those of a `statement` are. `batch`: the most rows that a fetch gives; 0 counts
    /// as 1. Cursors of one name must not be open at once; the default is a name of its own for each object. A connection prepares the
    /// statements of each name, so a query that runs often should be given one, which only it has.
    template <class S>
    explicit cursor(const S& query, std::size_t batch = 1000, std::string name = {}) {
        const identifier id{name.empty() ? detail::joined({"strata_cursor_", detail::digits_of(++made_)}) : std::move(name)};
        declare_ += "declare ";
        declare_ += id;
        declare_ += " no scroll cursor for ";
        declare_ += query;
        fetch_ += detail::joined({"fetch forward ", detail::digits_of(batch == 0 ? std::size_t{1} : batch), " from "});
        fetch_ += id;
        close_ += "close ";
        close_ += id;
    }

    /// Begins; gives no rows. Run it by `execute`.
    [[nodiscard]] const statement& declare() const noexcept { return declare_; }
    /// The next rows; fewer than a batch, or none, at the end. Run it by `all<T>`.
    [[nodiscard]] const statement& fetch() const noexcept { return fetch_; }
    /// Ends it before the transaction ends. Run it by `execute`.
    [[nodiscard]] const statement& close() const noexcept { return close_; }

private:
    static inline std::atomic<std::int64_t> made_{0};

    statement declare_;
    statement fetch_;
    statement close_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif

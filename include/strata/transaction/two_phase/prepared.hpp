// What is asked of a database that can prepare transactions, and what it says of one that it has prepared.
#ifndef STRATA_TRANSACTION_TWO_PHASE_PREPARED_HPP
#define STRATA_TRANSACTION_TWO_PHASE_PREPARED_HPP

#include <strata/core/result.hpp>
#include <strata/sql/literal.hpp>
#include <strata/transaction/control.hpp>
#include <strata/transaction/two_phase/decision.hpp>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Its transactions can be prepared.
template <class Driver>
concept can_prepare = requires(std::string_view id) {
    Driver::two_phase::prepare(id);
    Driver::two_phase::commit(id);
    Driver::two_phase::roll_back(id);
};

/// Who the database is. Fails where it keeps no prepared transactions.
template <class Session>
[[nodiscard]] error ask_identity(Session& s, database_identity& who) {
    using namespace literals;
    constexpr auto ask =
        "select current_setting('max_prepared_transactions')::int8, (select system_identifier from pg_control_system()), "
        "(select oid::int8 from pg_database where datname = current_database())"_sql.named("strata two-phase identity");
    const auto said = s.template try_one<std::tuple<std::int64_t, std::int64_t, std::int64_t>>(ask());
    if (!said) return said.error();
    const auto& [most, server, database] = *said;
    if (most == 0) {
        error e{errc::unsupported, "the server prepares no transactions: max_prepared_transactions is 0", phase::admission};
        e.edit_texts().hint =
            "set max_prepared_transactions in postgresql.conf, on standbys too, to at least the distributed transactions that are on their "
            "way "
            "at once, max_connections being the usual number, and start the server again";
        return e;
    }
    who = {static_cast<std::uint64_t>(server), static_cast<std::uint64_t>(database)};
    return {};
}

[[nodiscard]] STRATA_COLD inline error other_database() {
    error e{errc::cannot_connect, "the address leads to another database than at the start, where the branch is not", phase::admission};
    e.edit_texts().hint = "lead it back; for databases that were moved for good make a new distributed_transaction";
    return e;
}
/// Whether the address still leads there: what another database says of a branch would be about a stranger's.
template <class Session>
[[nodiscard]] error check_identity(Session& s, const database_identity& known) {
    database_identity now;
    if (error e = ask_identity(s, now)) return e;
    return now == known ? error{} : other_database();
}

/// The number that the open transaction has if it has written anything. Fails where it is in another database than `known`.
template <class Transaction>
[[nodiscard]] error ask_transaction_id(Transaction& tx, const database_identity& known, std::uint64_t& id, bool& wrote) {
    using namespace literals;
    constexpr auto ask =
        "select txid_current_if_assigned(), (select system_identifier from pg_control_system()), "
        "(select oid::int8 from pg_database where datname = current_database())"_sql.named("strata two-phase transaction id");
    const auto said = tx.template try_one<std::tuple<std::optional<std::int64_t>, std::int64_t, std::int64_t>>(ask());
    if (!said) return said.error();
    const auto& [number, server, database] = *said;
    if (database_identity{static_cast<std::uint64_t>(server), static_cast<std::uint64_t>(database)} != known) return other_database();
    wrote = number.has_value();
    id = static_cast<std::uint64_t>(number.value_or(0));
    return {};
}

/// Ends a prepared transaction on a connection that holds nothing else, which blocks. One that is gone has ended before:
/// `heuristic_outcome` where the database remembers that it ended the other way. `transaction_id` 0: nobody knows its number.
template <class Session>
[[nodiscard]] error end_prepared(Session& s, const std::string& id, std::uint64_t transaction_id, bool commit) {
    using namespace literals;
    using texts = typename Session::driver::two_phase;
    error e;
    static_cast<void>(control(s.connection(), commit ? texts::commit(id) : texts::roll_back(id), e));
    if (!e) return e;
    e.set(phase::commit);
    if (e.code() != errc::undefined_object || transaction_id == 0) return e.code() == errc::undefined_object ? error{} : e;

    constexpr auto ask = "select txid_status(:id)"_sql.named("strata two-phase outcome");
    const auto said = s.template try_one<std::optional<std::string>>(ask(static_cast<std::int64_t>(transaction_id)));
    if (!said) return said.error();
    if (!*said || **said == (commit ? "committed" : "aborted")) return {};  // null: too long ago
    if (**said == "in progress") return {errc::busy, joined({"the branch '", id, "' is being prepared or ended just now"}), phase::commit};
    return {errc::heuristic_outcome,
            joined({"the branch '", id, "' was ", commit ? "rolled back" : "committed", " by hand, though the transaction is ",
                    commit ? "committed" : "rolled back"}),
            phase::commit, effect::applied};
}

/// One line of `pg_prepared_xacts`.
struct prepared_line {
    std::string id;
    std::string owner;
    duration age;
};

/// What is prepared in the session's database and begins with `prefix`.
template <class Session>
[[nodiscard]] error list_prepared(Session& s, const std::string& prefix, std::vector<prepared_line>& lines) {
    using namespace literals;
    constexpr auto ask =
        "select gid, owner::text, (extract(epoch from clock_timestamp() - prepared) * 1000000)::int8 from pg_prepared_xacts "
        "where database = current_database() and left(gid, length(:prefix::text)) = :prefix order by prepared"_sql.named(
            "strata two-phase in doubt");
    const auto said = s.template try_all<std::tuple<std::string, std::string, std::int64_t>>(ask("prefix"_arg = prefix));
    if (!said) return said.error();
    for (const auto& [id, owner, age] : *said) lines.push_back({id, owner, std::chrono::microseconds{age}});
    return {};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

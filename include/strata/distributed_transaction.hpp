// One transaction over several databases: committed in all of them or in none, whatever crashes meanwhile. By two-phase commit.
//
//   strata::transaction_coordinator coordinator{{.name = "transfers", .log = "/var/lib/bank/transfers.log"}};
//   strata::distributed_transaction transfer{coordinator, berlin, paris};
//   transfer.recover();                                        // at the start, and now and then: what a crash has left
//
//   transfer.run([&](auto& in_berlin, auto& in_paris) {
//       in_berlin.execute(add("amount"_arg = -100, "id"_arg = 1));
//       in_paris.execute(add("amount"_arg = +100, "id"_arg = 2));
//   });
//
// What it costs: where one database alone has written, its plain COMMIT (looked up as `transactions_options::resolve_commit` of its stack
// says). Where more have, a question, PREPARE TRANSACTION and COMMIT
// PREPARED on each, one after the other, and one write that is synced to the coordinator's log.
//
// What it does not do: others may see one database's part a moment before the other's, for only each database by itself isolates.
//
// At most one participant may be an SQLite database. It commits when all others are prepared, and so decides; what it decided stands in
// its table `strata_decision`, and recovery needs that very file. Under a rollback journal it must be opened with `pragma synchronous =
// extra`, for SQLite's `full` does not sync the folder from which the journal vanishes, and a power cut may undo the last commit.
#ifndef STRATA_DISTRIBUTED_TRANSACTION_HPP
#define STRATA_DISTRIBUTED_TRANSACTION_HPP

#include <strata/database.hpp>
#include <strata/transaction/two_phase/recovery.hpp>
#include <strata/transaction/two_phase/settle.hpp>

#include <array>
#include <exception>
#include <tuple>

namespace strata::inline STRATA_ABI {

struct distributed_transaction_options {
    duration deadline{};  ///< from the start of the call up to the decision; zero: none
    /// How long another connection is waited for, by each database whose connection was lost in the second phase, one after the other. On
    /// it the branch is ended in one attempt, which takes up to the driver's own limit (`postgres_options::finish_limit`); what fails there
    /// is left to `recover`.
    duration finish_within = std::chrono::seconds{5};
    std::span<const tag> tags = {};
    std::string_view name = {};  ///< for metrics and logs
    strata::priority priority = strata::priority::normal;
    /// At least so isolated is each database's part; no snapshot is common to them.
    std::optional<strata::isolation> isolation = std::nullopt;
};

namespace detail {

template <class T>
inline constexpr bool is_blocking_database = false;
template <class Stack, class World>
inline constexpr bool is_blocking_database<database<Stack, World>> = true;

template <class Database>
concept may_take_part = can_prepare<typename Database::driver> || Database::dialect == dialect::sqlite;

/// Where the one is that cannot prepare; `none` without.
template <class... Databases>
consteval std::size_t last_resource_of() {
    constexpr bool prepares[] = {can_prepare<typename Databases::driver>...};
    for (std::size_t i = 0; i < sizeof...(Databases); ++i)
        if (!prepares[i]) return i;
    return two_phase_protocol::none;
}

}  // namespace detail

/// The databases of a kind of distributed transaction, for as long as it is in use. They and the coordinator outlive it. Thread-safe; not
/// copied. Each run holds a connection of every database; give all objects over the same databases the same order, lest two wait for
/// each other's connections.
template <class... Databases>
class distributed_transaction {
    static_assert((detail::is_blocking_database<Databases> && ...),
                  "strata: a distributed transaction takes databases: distributed_transaction t{coordinator, berlin, paris}");
    static_assert(sizeof...(Databases) > 0, "strata: a distributed transaction needs at least one database, and makes sense with two");
    static_assert((detail::may_take_part<Databases> && ...),
                  "strata: this driver's database cannot prepare transactions, and is no SQLite database, which may be the last resource");
    static_assert((std::size_t{0} + ... + (detail::can_prepare<typename Databases::driver> ? 0u : 1u)) <= 1,
                  "strata: two SQLite databases cannot be committed together: only one participant may be one that cannot prepare (attach "
                  "one file to the other's connection instead)");
    static_assert((std::size_t{0} + ... + (detail::can_prepare<typename Databases::driver> ? 1u : 0u)) >= 1,
                  "strata: an SQLite database by itself needs no distributed transaction: write db.transaction(...)");

    template <class Database>
    using handle_of = basic_transaction<typename Database::runtime_type>;

public:
    /// Asks each database who it is. Throws `failure`: `unsupported`, with the remedy, where a server has `max_prepared_transactions` 0 or
    /// an SQLite database does not sync its commits; and what the databases say.
    explicit distributed_transaction(transaction_coordinator& coordinator, Databases&... databases)
        : coordinator_(coordinator), enlisted_(databases...) {
        (detail::assert_transactions<typename Databases::runtime_type>(), ...);
        each([](auto& e) {
            if (error why = e.open()) throw_failure(std::move(why));
        });
    }
    distributed_transaction(const distributed_transaction&) = delete;
    distributed_transaction& operator=(const distributed_transaction&) = delete;

    /// Runs the closure once, with the handle of a transaction in each database, in order; never again by itself. Commits when it returns,
    /// rolls back when it throws or returns a `result` that holds an error. Its value comes out. Throws what the closure threw, or
    /// `failure`, whose effect is that on the whole:
    ///   `rolled_back`  in every database; where one could not be told so, its branch holds its locks until `recover`
    ///   `applied`      `errc::commit_pending`: committed, and `recover` completes it where a database could not be reached;
    ///                  `errc::heuristic_outcome`: somebody ended a prepared branch by hand, and the other way
    ///   `unknown`      `errc::outcome_unknown`: the log or the last resource failed while the decision was written; as a whole or not at
    ///   all
    template <class Closure>
    auto run(Closure&& closure, const distributed_transaction_options& o = {}) {
        call<Closure> c{closure};
        if (error e = go(c, o)) [[unlikely]] {
            if (c.thrown) std::rethrow_exception(c.thrown);
            if constexpr (!std::is_void_v<typename call<Closure>::value>) {
                if (c.returned && detail::holds_error(*c.returned)) return detail::failed_value(std::move(*c.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<typename call<Closure>::value>) return std::move(*c.returned);
    }
    /// The same; what would be a `failure` comes as a `result`.
    template <class Closure>
    auto try_run(Closure&& closure, const distributed_transaction_options& o = {}) ->
        typename detail::as_result<std::remove_cvref_t<std::invoke_result_t<Closure&, handle_of<Databases>&...>>>::type {
        call<Closure> c{closure};
        if (error e = go(c, o)) [[unlikely]] {
            if (c.thrown) std::rethrow_exception(c.thrown);
            return e;
        }
        if constexpr (std::is_void_v<typename call<Closure>::value>)
            return {};
        else
            return std::move(*c.returned);
    }

    /// Ends what earlier runs, of this process or of one that died, have left prepared in these databases: commits what was decided, rolls
    /// back the rest. Call it at the start, and then now and then, since a server may be late with what it was told. Touches nothing
    /// that is on its way, and nothing of other coordinators. `deadline`: for each database. Does not throw for a database's failure.
    recovery_report recover(duration deadline = std::chrono::seconds{30}) {
        detail::two_phase_recovery r{coordinator_};
        if (error e = coordinator_.log().check()) {
            r.report.errors.push_back(std::move(e));
            return std::move(r.report);
        }
        each([&](auto& e) { r.list(e, deadline); });
        r.read_log();
        each([&](auto& e) { r.read(e); });
        each([&](auto& e) { r.settle(e, deadline); });
        r.forget([&](const std::string& row) {
            if constexpr (last != detail::two_phase_protocol::none) std::get<last>(enlisted_).drop(row);
        });
        return std::move(r.report);
    }

    /// Everything that is prepared in these databases at the moment, whoever prepared it, for monitoring: what is old holds its locks, and
    /// keeps the server from vacuuming. Throws `failure`.
    [[nodiscard]] std::vector<in_doubt_transaction> in_doubt() {
        std::vector<in_doubt_transaction> all;
        std::size_t number = 0;
        each([&]<class Database>(detail::enlisted<Database>& e) {
            if constexpr (detail::can_prepare<typename Database::driver>) {
                std::vector<detail::prepared_line> lines;
                if (error why = detail::list_prepared(e.db, {}, lines)) throw_failure(std::move(why));
                for (detail::prepared_line& l : lines)
                    all.push_back({number, l.id, std::move(l.owner), l.age, detail::kind_of(l.id, coordinator_)});
            }
            ++number;
        });
        return all;
    }

private:
    static constexpr std::size_t last = detail::last_resource_of<Databases...>();

    /// The closure, and what came of it.
    template <class Closure>
    struct call {
        using value = std::remove_cvref_t<std::invoke_result_t<Closure&, handle_of<Databases>&...>>;

        /// Empty when the transaction is to be committed.
        [[nodiscard]] error work(handle_of<Databases>&... handles) {
            try {
                if constexpr (std::is_void_v<value>) {
                    closure(handles...);
                } else {
                    returned.emplace(closure(handles...));
                    if (detail::holds_error(*returned)) return detail::error_in(*returned);
                }
                return {};
            } catch (const failure& f) {
                return detail::told_by_closure(f.error());
            } catch (...) {
                thrown = std::current_exception();
                return error{errc::user_exception, phase::execute};
            }
        }

        std::remove_reference_t<Closure>& closure;
        std::optional<detail::storable<value>> returned = {};
        std::exception_ptr thrown = {};
    };

    template <class Call>
    [[nodiscard]] error go(Call& c, const distributed_transaction_options& o) {
        if (error e = coordinator_.log().check()) return e;
        const detail::branch_options options{o.deadline, o.name, o.tags, o.priority, o.finish_within, o.isolation};
        return std::apply(
            [&](auto&... where) {
                std::tuple<detail::branch<Databases>...> branches{typename detail::branch<Databases>::seed{where, options}...};
                return std::apply([&](auto&... branch) { return settle(c, branch...); }, branches);
            },
            enlisted_);
    }
    template <class Call, class... Branch>
    [[nodiscard]] error settle(Call& c, Branch&... branch) {
        const transaction_coordinator::flight flight{coordinator_};
        const std::array<detail::two_phase_participant*, sizeof...(Branch)> participants{&branch...};
        detail::two_phase_settlement whole{coordinator_, flight.id(), participants, last, file()};
        if (error e = whole.begin()) return e;
        coordinator_.at_step(two_phase_step::work, 0, false);
        error why = c.work(branch.handle()...);
        coordinator_.at_step(two_phase_step::work, 0, true);
        error e = whole.settle(std::move(why));
        if constexpr (last != detail::two_phase_protocol::none)
            if (whole.is_to_be_forgotten_there()) std::get<last>(enlisted_).forget(whole.decision_name());
        return e;
    }

    [[nodiscard]] std::uint64_t file() const noexcept {
        if constexpr (last != detail::two_phase_protocol::none)
            return std::get<last>(enlisted_).file;
        else
            return 0;
    }
    template <class F>
    void each(F&& f) {
        std::apply([&](auto&... e) { (f(e), ...); }, enlisted_);
    }

    transaction_coordinator& coordinator_;
    std::tuple<detail::enlisted<Databases>...> enlisted_;
};

template <class... Databases>
distributed_transaction(transaction_coordinator&, Databases&...) -> distributed_transaction<Databases...>;

}  // namespace strata::inline STRATA_ABI

#endif

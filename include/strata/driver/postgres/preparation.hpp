// A statement on its way to being prepared: asked for over several steps, since each question waits for its answer.
//
//   the numbers of the types that arguments name; room in the cache; the text; its description; the types in it that are new
//
// Where nothing is prepared on the server it ends after the first.
#ifndef STRATA_DRIVER_POSTGRES_PREPARATION_HPP
#define STRATA_DRIVER_POSTGRES_PREPARATION_HPP

#include <strata/core/joined.hpp>
#include <strata/driver/postgres/catalogue.hpp>
#include <strata/driver/postgres/statement_cache.hpp>
#include <strata/driver/postgres/wire.hpp>

#include <libpq-fe.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// What is prepared.
struct to_prepare {
    const descriptor* what = nullptr;
    hash128 key{};
    bool typed = false;  // arguments name types
    bool kept = true;    // prepared on the server
    bool in_transaction = false;
};

/// Of one connection; one statement at a time.
class postgres_preparation {
public:
    /// Parameter `index` has a type that an argument names; `first`: of the statement.
    void want_type(std::size_t index, std::string_view type, bool first) {
        if (first) wanted_.clear();
        wanted_.emplace_back(index, type);
    }
    /// By number, in the order of the parameters; those of a statement whose arguments name types.
    [[nodiscard]] const std::vector<::Oid>& parameter_types() const noexcept { return numbers_; }
    void set_parameter_types(const std::vector<::Oid>& types) { numbers_ = types; }

    void begin(const to_prepare& p) noexcept {
        now_ = p;
        at_ = stage::ask_types;
        replaced_ = false;
    }
    /// `io`, `work`, `done` with the statement in `entry` where it is kept, or `failed` with the error in `e`.
    [[nodiscard]] signal step(postgres_wire& w, prepared_statements& cache, type_catalogue& types, error& e, prepared_statement*& entry);

    void clear() noexcept {
        description_.reset();
        suffix_ = 0;
    }
    /// On a session that was ours before, where our names may stand for what was prepared then.
    void use_other_names() noexcept {
        static std::atomic<std::uint32_t> sessions{0};
        suffix_ = (sessions.fetch_add(1, std::memory_order_relaxed) + 1) << 16;
    }

private:
    enum class stage : std::uint8_t { ask_types, make_room, prepare, describe, learn, finish };

    [[nodiscard]] const ::Oid* types_to_send() const noexcept { return now_.typed ? numbers_.data() : nullptr; }
    /// What the round left; none when it went well.
    [[nodiscard]] error failure_of(postgres_wire& w) const;
    void ask_types(postgres_wire& w) const;
    void ask_catalogue(postgres_wire& w, const type_catalogue& types) const;
    [[nodiscard]] std::string name() const {
        std::string n = "strata_";
        for (const std::uint64_t half : {now_.key.high, now_.key.low})
            for (int shift = 60; shift >= 0; shift -= 4) n += "0123456789abcdef"[half >> shift & 15];
        if (suffix_ != 0) n.append("_").append(std::to_string(suffix_));
        return n;
    }
    [[nodiscard]] bool put(prepared_statements& cache, error& e, prepared_statement*& entry);

    to_prepare now_;
    stage at_ = stage::ask_types;
    bool replaced_ = false;
    std::uint32_t suffix_ = 0;
    result_owner description_;
    std::vector<std::pair<std::size_t, std::string_view>> wanted_;
    std::vector<::Oid> numbers_;
};

STRATA_COLD inline signal postgres_preparation::step(postgres_wire& w, prepared_statements& cache, type_catalogue& types, error& e,
                                                     prepared_statement*& entry) {
    PGconn* const db = w.db_;
    for (;;) {
        if (w.round_.under_way) {
            const signal s = w.hear();
            if (s == signal::io || s == signal::work) return s;
            e = failure_of(w);
            // A statement of this name is there if another text fell to the same hash, or after a renewal.
            if (e && at_ == stage::describe && e.texts().native_code == "42P05" && !now_.in_transaction &&
                !std::exchange(replaced_, true)) {
                e = {};
                at_ = stage::prepare;
                w.ask(::PQsendQuery(db, joined({"deallocate \"", name(), "\""}).c_str()));
                continue;
            }
            if (e) {
                // What was cut short may be there or not, under its name: the next one gets another.
                if (at_ != stage::describe || !w.round_.failed) ++suffix_;
                return signal::failed;
            }
        }
        switch (at_) {
            case stage::ask_types:
                at_ = stage::make_room;
                if (now_.typed) ask_types(w);
                break;
            case stage::make_room:
                if (now_.typed) {
                    // They are asked for each time: a type may be made anew under its name.
                    numbers_.assign(now_.what->parameters, 0);
                    for (std::size_t i = 0; i < wanted_.size(); ++i)
                        numbers_[wanted_[i].first] =
                            static_cast<::Oid>(std::strtoul(::PQgetvalue(w.round_.last.get(), 0, static_cast<int>(i)), nullptr, 10));
                }
                if (!now_.kept) return signal::done;
                at_ = stage::prepare;
                if (const std::string old = cache.evict(); !old.empty())
                    w.ask(::PQsendQuery(db, joined({"deallocate \"", old, "\""}).c_str()));
                break;
            case stage::prepare:
                at_ = stage::describe;
                w.ask(::PQsendPrepare(db, name().c_str(), std::string{now_.what->postgres_text}.c_str(),
                                      now_.typed ? static_cast<int>(numbers_.size()) : 0, types_to_send()));
                break;
            case stage::describe:
                at_ = stage::learn;
                w.ask(::PQsendDescribePrepared(db, name().c_str()));
                break;
            case stage::learn:
                at_ = stage::finish;
                description_ = std::move(w.round_.last);
                ask_catalogue(w, types);
                break;
            case stage::finish:
                if (w.round_.last != nullptr) types.learn(w.round_.last.get());
                w.round_.last.reset();
                return put(cache, e, entry) ? signal::done : signal::failed;
        }
    }
}

STRATA_COLD inline error postgres_preparation::failure_of(postgres_wire& w) const {
    error e;
    if (w.round_.failed) {
        e = w.error_of(w.round_.last.get(), phase::prepare, now_.what->text, now_.what->postgres_text);
        if (w.round_.was_hit) e.set(w.ended_by_);
    } else if (w.lost_) {
        e = w.lost_error(phase::prepare, now_.in_transaction ? effect::rolled_back : effect::none);
    } else if (w.ended_by_ != errc::ok) {
        e = error{w.ended_by_, phase::prepare};
    }
    if (w.lost_) e.set_lost();
    return e;
}

STRATA_COLD inline void postgres_preparation::ask_types(postgres_wire& w) const {
    std::string question = "select";
    std::vector<std::string> names;
    std::vector<const char*> values;
    for (const auto& [index, type] : wanted_) {
        names.emplace_back(type);
        question += joined({names.size() == 1 ? " $" : ", $", digits_of(names.size())});
        question += "::pg_catalog.text::pg_catalog.regtype::pg_catalog.oid";
    }
    for (const std::string& n : names) values.push_back(n.c_str());
    w.ask(::PQsendQueryParams(w.db_, question.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0));
}

/// For those types of columns and parameters that the database defines and the connection has not met.
STRATA_COLD inline void postgres_preparation::ask_catalogue(postgres_wire& w, const type_catalogue& types) const {
    const std::string unknown = types.unknown_in(description_.get());
    if (unknown.empty()) return;
    const char* const values[] = {unknown.c_str()};
    const std::string question = type_catalogue::question(::PQserverVersion(w.db_));
    w.ask(::PQsendQueryParams(w.db_, question.c_str(), 1, nullptr, values, nullptr, nullptr, 0));
}

STRATA_COLD inline bool postgres_preparation::put(prepared_statements& cache, error& e, prepared_statement*& entry) {
    const std::string called = name();
    const int count = ::PQnparams(description_.get());
    std::vector<::Oid> parameters;
    for (int i = 0; i < count; ++i) parameters.push_back(::PQparamtype(description_.get(), i));
    prepared_statement& s = cache.put(now_.key, now_.what->postgres_text);
    s.name[called.copy(s.name, sizeof s.name - 1)] = '\0';
    s.parameters = std::move(parameters);
    s.columns = std::move(description_);
    entry = &s;
    if (count == now_.what->parameters) return true;
    e = error{errc::invalid_statement,
              joined({"the server counts ", digits_of(count), " parameters where ", digits_of(int{now_.what->parameters}), " are bound"}),
              phase::prepare};
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

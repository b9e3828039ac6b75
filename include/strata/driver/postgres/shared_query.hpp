// One statement on a connection that it shares: bound and read by types. The logic is in multiplexer.hpp.
#ifndef STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP

#include <strata/driver/postgres/arguments.hpp>
#include <strata/driver/postgres/multiplexer.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/value/sinks.hpp>

#include <utility>

namespace strata::inline STRATA_ABI {

inline time_point postgres_seat::parked_until() noexcept {
    return on_->waits_until(*this);
}
inline io_wait postgres_seat::awaited() noexcept {
    return on_->awaited();
}
inline watch_place& postgres_seat::watch() noexcept {
    return on_->watch();
}

/// As `postgres_connection::query`. Destroyed midway it leaves its place; what was sent is not taken back.
template <class Bound, class Sink>
class postgres_seat::query final : detail::postgres_flown {
public:
    query(postgres_seat& seat, const Bound& statement, Sink& sink) noexcept : seat_(seat), statement_(statement), sink_(sink) {}
    ~query() {
        if (seat_.at_ != at::nowhere && seat_.at_ != at::ended) seat_.on_->abandon(seat_);
        seat_.at_ = at::nowhere;
    }

    [[nodiscard]] signal resume() {
        if (seat_.at_ == at::nowhere) return board();
        return told(seat_.on_->go_on(seat_));
    }
    [[nodiscard]] error& failure() noexcept { return seat_.error_; }
    [[nodiscard]] std::int64_t affected() const noexcept { return seat_.affected_; }
    [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

private:
    [[nodiscard]] signal board() {
        what = &statement_.text();
        literal = Bound::facts.kind_known;
        wants_count = !requires { requires !Sink::wants_count; };
        has_types = true;
        seat_.statement_ = this;
        seat_.idempotent_ = statement_.kind() == statement_kind::read && seat_.op_->run_time_idempotent;
        if constexpr (Bound::facts.kind_known && Bound::facts.kind == statement_kind::read && Bound::facts.idempotent == known::yes)
            seat_.idempotent_ = true;
        seat_.alone_ = seat_.renewed_ = seat_.leads_ = false;
        seat_.given_up_ = errc::ok;
        signal next = signal::failed;
        if (seat_.on_->board(seat_, next)) return told(next);
        seat_.error_ = error{errc::connection_lost, "the shared connection was lost", phase::execute};
        return signal::failed;
    }
    [[nodiscard]] signal told(signal next) {
        if (seat_.thrown_) std::rethrow_exception(std::exchange(seat_.thrown_, nullptr));
        return next;
    }

    void describe() override {}
    [[nodiscard]] detail::refused_argument bind(std::size_t, postgres_writer& out) override {
        return detail::write_arguments(statement_, out);
    }
    void each_type(const std::function<void(std::size_t, std::string_view)>& f) const override {
        statement_.for_each_argument([&](std::size_t index, const auto& value) {
            if constexpr (detail::may_be_typed<std::remove_cvref_t<decltype(value)>>) {
                if (const std::string_view type = detail::type_of_argument(value); !type.empty()) f(index, type);
            }
        });
    }
    [[nodiscard]] const void* tag() const noexcept override { return sink_.tag(); }
    [[nodiscard]] error plan(const postgres_row& meta, row_plan& p) override { return sink_.plan(meta, p); }
    void read(std::size_t, const PGresult* r, const row_plan& p, detail::reading_memory& memory, error& e) override {
        const int rows = ::PQntuples(r);
        for (int row = 0; row < rows; ++row)
            if (sink_.row(postgres_row{r, row, memory}, p, e) != flow::more) return;
        sink_.finish(e);
    }
    void end(std::size_t, error, std::int64_t) override {}

    postgres_seat& seat_;
    const Bound& statement_;
    Sink& sink_;
};

/// The driver, as the statements that share its connections see it.
struct postgres_sharing {
    using connection = postgres_seat;
    using multiplexer = detail::postgres_multiplexer;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    static constexpr bool blocking = false;

    [[nodiscard]] static error check(const postgres_options& o) {
        if (!o.prepare)
            return {errc::invalid_argument, "pipelined needs postgres_options.prepare: statements that share a connection are prepared",
                    phase::admission};
        if (o.handle != nullptr)
            return {errc::invalid_argument, "pipelined opens its connections itself: postgres_options.handle is one of the user's",
                    phase::admission};
        return {};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

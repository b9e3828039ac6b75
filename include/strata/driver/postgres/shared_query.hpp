// One statement on a connection that it shares: bound and read by types. The logic is in core/multiplexer.hpp and shared_link.hpp.
#ifndef STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_SHARED_QUERY_HPP

#include <strata/driver/postgres/arguments.hpp>
#include <strata/driver/postgres/shared_link.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/value/sinks.hpp>

namespace strata::inline STRATA_ABI {

/// What a statement takes for its connection; see `detail::seat`.
class postgres_seat : public detail::seat<detail::postgres_shared_link> {
public:
    /// One statement, from here.
    template <class Bound, class Sink>
    class query;
};

/// As `postgres_connection::query`. Destroyed midway it leaves its place; what was sent is not taken back. Whoever leads reads the rows,
/// which may be another thread of those that share.
template <class Bound, class Sink>
class postgres_seat::query final : detail::postgres_flown {
public:
    query(postgres_seat& seat, const Bound& statement, Sink& sink) noexcept : seat_(seat), statement_(statement), sink_(sink) {}
    ~query() { seat_.end(); }

    [[nodiscard]] signal resume() { return seat_.is_seated() ? seat_.go_on() : begin(); }
    [[nodiscard]] error& failure() noexcept { return seat_.error_; }
    [[nodiscard]] std::int64_t affected() const noexcept { return seat_.affected_; }
    [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

private:
    [[nodiscard]] signal begin() {
        what = &statement_.text();
        literal = Bound::facts.kind_known;
        wants_count = !requires { requires !Sink::wants_count; };
        only_reads = statement_.kind() == statement_kind::read;
        const bool idempotent = only_reads && (seat_.op_->run_time_idempotent || statement_.idempotent());
        return seat_.begin(*this, idempotent);
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
    using link = detail::postgres_shared_link;
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

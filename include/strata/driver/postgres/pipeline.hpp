// Several statements in one flight through libpq's pipeline mode. The logic is in flight.hpp; this binds and reads by types.
#ifndef STRATA_DRIVER_POSTGRES_PIPELINE_HPP
#define STRATA_DRIVER_POSTGRES_PIPELINE_HPP

#include <strata/driver/postgres/arguments.hpp>
#include <strata/driver/postgres/flight.hpp>
#include <strata/sql/typed_argument.hpp>
#include <strata/value/sinks.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// An item of the face's, as the flight sees it. An item has
///     static constexpr bool wants_count, may_have_types;
///     const descriptor& text();  bool literal();  bool only_reads();  std::size_t size();
///     void with_statement(i, f);            // f(bound) for element i
///     static const void* tag();  static error plan(meta, row_plan&);
///     void with_sink(i, f);                 // f(sink) for the answer to element i
///     void end(i, error, execution);  void restart();
template <class Item>
class postgres_flown_item final : public postgres_flown {
public:
    explicit postgres_flown_item(Item& item) noexcept : item_(item) {}

    void describe() override {
        what = &item_.text();
        literal = item_.literal();
        only_reads = item_.only_reads();
        wants_count = Item::wants_count;
        count = item_.size();
    }
    [[nodiscard]] refused_argument bind(std::size_t i, postgres_writer& out) override {
        refused_argument r;
        item_.with_statement(i, [&](const auto& statement) { r = write_arguments(statement, out); });
        return r;
    }
    void each_type(const std::function<void(std::size_t, std::string_view)>& f) const override {
        if constexpr (Item::may_have_types) {
            item_.with_statement(0, [&](const auto& statement) {
                statement.for_each_argument([&](std::size_t index, const auto& value) {
                    if (const std::string_view type = type_of_argument(value); !type.empty()) f(index, type);
                });
            });
        }
    }
    [[nodiscard]] const void* tag() const noexcept override { return Item::tag(); }
    [[nodiscard]] error plan(const postgres_row& meta, row_plan& p) override { return Item::plan(meta, p); }
    void read(std::size_t i, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) override {
        item_.with_sink(i, [&](auto&& sink) {
            const int rows = ::PQntuples(r);
            for (int row = 0; row < rows; ++row)
                if (sink.row(postgres_row{r, row, memory}, p, e) != flow::more) return;
            sink.finish(e);
        });
    }
    void end(std::size_t i, error e, std::int64_t affected) override { item_.end(i, std::move(e), {.affected = affected}); }

private:
    Item& item_;
};

}  // namespace detail

/// A flight of independent statements. Call `resume()` until it says `done` or `failed`, which it is when one of them has failed:
/// `failure()` is the first one's error, each item knows its own.
template <class... Items>
class postgres_connection::pipeline {
public:
    pipeline(postgres_connection& c, std::tuple<Items...>& items) noexcept : pipeline(c, items, std::index_sequence_for<Items...>{}) {}
    pipeline(const pipeline&) = delete;
    pipeline& operator=(const pipeline&) = delete;

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() { return flight_.resume(); }
    [[nodiscard]] error& failure() noexcept { return flight_.failure(); }

private:
    template <std::size_t... I>
    pipeline(postgres_connection& c, std::tuple<Items...>& items, std::index_sequence<I...>) noexcept
        : adapters_(std::get<I>(items)...), items_{&std::get<I>(adapters_)...}, flight_(c, items_) {}

    std::tuple<detail::postgres_flown_item<Items>...> adapters_;
    std::array<detail::postgres_flown*, sizeof...(Items)> items_;
    detail::postgres_flight flight_;
};

}  // namespace strata::inline STRATA_ABI

#endif

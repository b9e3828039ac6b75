// The bridge between what knows its driver and what does not: sinks and writers behind virtual calls.
//
// `any_session` hands an `any_sink` down to the stack (one virtual call a row and a column); run-time statements hand their
// arguments to an `any_parameter_writer` (one virtual call a parameter).
#ifndef STRATA_VALUE_ERASED_HPP
#define STRATA_VALUE_ERASED_HPP

#include <strata/value/any_row.hpp>
#include <strata/value/any_writer.hpp>
#include <strata/value/sinks.hpp>

#include <chrono>

namespace strata::inline STRATA_ABI {

/// A sink behind virtual calls; the members mean what they mean in the concept `row_sink`, of which it is a model over `any_row`.
class any_sink {
public:
    [[nodiscard]] virtual const void* tag() const = 0;
    [[nodiscard]] virtual error plan(const any_row& meta, row_plan& p) = 0;
    [[nodiscard]] virtual flow row(const any_row& r, const row_plan& p, error& e) = 0;
    virtual void finish(error& e) = 0;
    virtual void restart() = 0;

protected:
    any_sink() = default;
    any_sink(const any_sink&) = default;
    any_sink& operator=(const any_sink&) = default;
    ~any_sink() = default;
};

/// A concrete sink as `any_sink`. Refers to it.
template <row_sink S>
class erased_sink final : public any_sink {
public:
    explicit erased_sink(S& sink) noexcept : sink_(sink) {}

    [[nodiscard]] const void* tag() const override { return sink_.tag(); }
    [[nodiscard]] error plan(const any_row& meta, row_plan& p) override { return sink_.plan(meta, p); }
    [[nodiscard]] flow row(const any_row& r, const row_plan& p, error& e) override { return sink_.row(r, p, e); }
    void finish(error& e) override { sink_.finish(e); }
    void restart() override { sink_.restart(); }

private:
    S& sink_;
};

/// An `any_sink` as a sink for the rows of every driver. Refers to it.
class sink_ref {
public:
    explicit sink_ref(any_sink& sink) noexcept : sink_(&sink) {}

    [[nodiscard]] const void* tag() const { return sink_->tag(); }
    template <row_reader Row>
    [[nodiscard]] error plan(const Row& meta, row_plan& p) {
        return sink_->plan(erased_row<Row>{meta}, p);
    }
    template <row_reader Row>
    [[nodiscard]] flow row(const Row& r, const row_plan& p, error& e) {
        return sink_->row(erased_row<Row>{r}, p, e);
    }
    void finish(error& e) { sink_->finish(e); }
    void restart() { sink_->restart(); }

private:
    any_sink* sink_;
};

/// The sink of an erased stream, which pauses.
class stream_sink_ref : public sink_ref {
public:
    static constexpr bool one_by_one = true;
    using sink_ref::sink_ref;
};

/// A driver's writer as `any_parameter_writer`. Refers to it.
template <parameter_writer W>
class erased_writer final : public any_parameter_writer {
public:
    explicit erased_writer(W& writer) noexcept : writer_(writer) {}

    void null() override { writer_.null(); }
    void boolean(bool value) override { writer_.boolean(value); }
    void integer(std::int64_t value) override { writer_.integer(value); }
    void real(double value) override { writer_.real(value); }
    void text(std::string_view value) override { writer_.text(value); }
    void text_copy(std::string_view value) override { writer_.text_copy(value); }
    void blob(std::span<const std::byte> value) override { writer_.blob(value); }
    void blob_copy(std::span<const std::byte> value) override { writer_.blob_copy(value); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t microseconds) override {
        const std::chrono::sys_time<std::chrono::microseconds> time{std::chrono::microseconds{microseconds}};
        if constexpr (requires { writer_.timestamp(time); }) {
            writer_.timestamp(time);
            return true;
        } else {
            return false;
        }
    }
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) override {
        if constexpr (requires { writer_.open(what, dimensions, flags); })
            return writer_.open(what, dimensions, flags);
        else
            return false;
    }
    [[nodiscard]] bool close() override {
        if constexpr (requires { writer_.close(); })
            return writer_.close();
        else
            return true;
    }
    [[nodiscard]] std::string_view part_name(std::size_t i) const override {
        if constexpr (requires { writer_.part_name(i); })
            return writer_.part_name(i);
        else
            return {};
    }

private:
    W& writer_;
};

}  // namespace strata::inline STRATA_ABI

#endif

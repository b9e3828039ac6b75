// A bound statement whose type is forgotten: descriptor, facts and a list of arguments that can write themselves.
#ifndef STRATA_ANY_STATEMENT_HPP
#define STRATA_ANY_STATEMENT_HPP

#include <strata/sql/bound.hpp>
#include <strata/value/codec.hpp>
#include <strata/value/erased.hpp>

#include <array>

namespace strata::inline STRATA_ABI {

/// A reference to an argument: its address and how it is written.
struct any_argument {
    const void* value = nullptr;
    errc (*write)(any_parameter_writer& out, const void* value) = nullptr;
    std::string_view type = {};  ///< in the database, where it was said

    [[nodiscard]] std::string_view type_in_database() const noexcept { return type; }
    template <class T>
    [[nodiscard]] static any_argument of(const T& value) noexcept {
        return {&value, [](any_parameter_writer& out, const void* v) { return codec<T>::write(out, *static_cast<const T*>(v)); },
                detail::type_of_argument(value)};
    }
};

template <>
struct codec<any_argument> {
    static constexpr std::string_view name = "argument";
    template <parameter_writer W>
    static errc write(W& out, const any_argument& a) {
        erased_writer<W> writer{out};
        return a.write(writer, a.value);
    }
};

/// Models `bound_statement` by reference: what it was made from must outlive it.
class any_statement {
public:
    static constexpr statement_facts facts{
        .kind = statement_kind::other, .kind_known = false, .idempotent = known::at_run_time, .statements = 0};

    template <class Bound>
    any_statement(const Bound& statement, std::span<const any_argument> arguments)
        : what_(&statement.text()), label_(statement.label()), kind_(statement.kind()), idempotent_(statement.idempotent()),
          arguments_(arguments) {}

    [[nodiscard]] const descriptor& text() const noexcept { return *what_; }
    [[nodiscard]] std::string_view label() const noexcept { return label_; }
    [[nodiscard]] statement_kind kind() const noexcept { return kind_; }
    [[nodiscard]] bool idempotent() const noexcept { return idempotent_; }
    [[nodiscard]] any_statement own() const noexcept { return *this; }
    template <class F>
    void for_each_argument(F&& f) const {
        for (std::size_t i = 0; i < arguments_.size(); ++i) f(i, arguments_[i]);
    }

private:
    const descriptor* what_;
    std::string_view label_;
    statement_kind kind_;
    bool idempotent_;
    std::span<const any_argument> arguments_;
};

namespace detail {

/// References to the arguments of a bound statement, eight of them without an allocation.
class argument_views {
public:
    template <class Bound>
    explicit argument_views(const Bound& statement) {
        statement.for_each_argument([this](std::size_t, const auto& value) { add(any_argument::of(value)); });
    }
    argument_views(const argument_views&) = delete;
    argument_views& operator=(const argument_views&) = delete;

    [[nodiscard]] std::span<const any_argument> all() const noexcept {
        return more_.empty() ? std::span<const any_argument>{few_.data(), size_} : std::span<const any_argument>{more_};
    }

private:
    void add(const any_argument& a) {
        if (size_ < few_.size() && more_.empty()) {
            few_[size_++] = a;
            return;
        }
        if (more_.empty()) more_.assign(few_.begin(), few_.end());
        more_.push_back(a);
    }

    std::array<any_argument, 8> few_;
    std::size_t size_ = 0;
    std::vector<any_argument> more_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

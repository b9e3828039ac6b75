// Readers, rows and writers in memory, for the tests of value/.
#ifndef STRATA_TEST_VALUE_FAKES_HPP
#define STRATA_TEST_VALUE_FAKES_HPP

#include <support/catch.hpp>

#include <strata/value/codec.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace strata_test {

/// A value that owns its bytes; models `column_reader` and counts how often its class was asked for.
struct fake_value {
    strata::column_type kind = strata::column_type::null;
    std::int64_t number = 0;
    double fraction = 0;
    std::string bytes{};
    bool copied = false;      // a writer was told to copy
    mutable int* asked = nullptr;

    [[nodiscard]] strata::column_type type() const {
        if (asked != nullptr) ++*asked;
        return kind;
    }
    // A getter that does not belong to the class must not be called.
    [[nodiscard]] bool boolean() const { return expect(strata::column_type::boolean), number != 0; }
    [[nodiscard]] std::int64_t integer() const { return expect(strata::column_type::integer), number; }
    [[nodiscard]] double real() const { return expect(strata::column_type::real), fraction; }
    [[nodiscard]] std::string_view text() const { return expect(strata::column_type::text), std::string_view{bytes}; }
    [[nodiscard]] std::span<const std::byte> blob() const {
        return expect(strata::column_type::blob), std::as_bytes(std::span<const char>{bytes});
    }
    void expect(strata::column_type wanted) const {
        if (kind != wanted) FAIL("asked a " << to_string(kind) << " for a " << to_string(wanted));
    }
};

inline fake_value null_value() { return {}; }
inline fake_value boolean(bool v) { return {.kind = strata::column_type::boolean, .number = v ? 1 : 0}; }
inline fake_value integer(std::int64_t v) { return {.kind = strata::column_type::integer, .number = v}; }
inline fake_value real(double v) { return {.kind = strata::column_type::real, .fraction = v}; }
inline fake_value text(std::string v) { return {.kind = strata::column_type::text, .bytes = std::move(v)}; }
inline fake_value blob(std::string v) { return {.kind = strata::column_type::blob, .bytes = std::move(v)}; }
inline fake_value other() { return {.kind = strata::column_type::other}; }

/// Models `parameter_writer`: keeps what was written.
struct fake_writer {
    std::vector<fake_value> written;

    void null() { written.push_back(null_value()); }
    void boolean(bool v) { written.push_back(strata_test::boolean(v)); }
    void integer(std::int64_t v) { written.push_back(strata_test::integer(v)); }
    void real(double v) { written.push_back(strata_test::real(v)); }
    void text(std::string_view v) { written.push_back(strata_test::text(std::string{v})); }
    void text_copy(std::string_view v) {
        text(v);
        written.back().copied = true;
    }
    void blob(std::span<const std::byte> v) {
        written.push_back(strata_test::blob({reinterpret_cast<const char*>(v.data()), v.size()}));
    }
    void blob_copy(std::span<const std::byte> v) {
        blob(v);
        written.back().copied = true;
    }
};

/// Models `row_reader`.
struct fake_row {
    std::vector<std::string> names;
    std::vector<fake_value> values;
    std::vector<std::string> declared{};

    [[nodiscard]] int size() const { return static_cast<int>(names.size()); }
    [[nodiscard]] std::string_view name(int i) const { return names.at(static_cast<std::size_t>(i)); }
    [[nodiscard]] std::string_view declared_type(int i) const {
        return static_cast<std::size_t>(i) < declared.size() ? std::string_view{declared[static_cast<std::size_t>(i)]} : std::string_view{};
    }
    [[nodiscard]] const fake_value& column(int i) const { return values.at(static_cast<std::size_t>(i)); }
};

static_assert(strata::column_reader<fake_value> && strata::parameter_writer<fake_writer> && strata::row_reader<fake_row>);

/// Reads one value; the value, or the code of its error.
template <class T>
struct read_result {
    strata::errc code;
    T value{};
};
template <class T>
read_result<T> read(const fake_value& from) {
    read_result<T> r{};
    r.code = strata::codec<T>::read(from, r.value);
    return r;
}
template <class T>
strata::errc read_code(const fake_value& from) {
    return read<T>(from).code;
}

/// Writes one value; what arrived. Fails the test when a codec that answers ok did not write once, or another wrote at all.
template <class T>
fake_value write(const T& value) {
    fake_writer w;
    const strata::errc e = strata::codec<T>::write(w, value);
    REQUIRE(e == strata::errc::ok);
    REQUIRE(w.written.size() == 1);
    return w.written.front();
}
template <class T>
strata::errc write_code(const T& value) {
    fake_writer w;
    const strata::errc e = strata::codec<T>::write(w, value);
    CHECK(w.written.size() == (e == strata::errc::ok ? 1u : 0u));
    return e;
}

/// True when the value comes back as it was.
template <class T>
bool round_trip(const T& value) {
    const read_result<T> back = read<T>(write(value));
    return back.code == strata::errc::ok && back.value == value;
}

/// Random numbers of all magnitudes, with extremes: the same in every run.
struct numbers {
    std::mt19937_64 engine{20240229};

    std::uint64_t bits() { return engine() >> (engine() % 64); }
    std::int64_t integer() {
        switch (engine() % 16) {
        case 0: return std::numeric_limits<std::int64_t>::min();
        case 1: return std::numeric_limits<std::int64_t>::max();
        case 2: return 0;
        case 3: return std::int64_t{1} << (engine() % 63);
        case 4: return -(std::int64_t{1} << (engine() % 63));
        case 5: return (std::int64_t{1} << (engine() % 63)) - 1;
        default: return static_cast<std::int64_t>(bits()) * (engine() % 2 == 0 ? 1 : -1);
        }
    }
    std::int64_t between(std::int64_t least, std::int64_t most) {
        return least + static_cast<std::int64_t>(engine() % (static_cast<std::uint64_t>(most - least) + 1));
    }
};

}  // namespace strata_test

#endif

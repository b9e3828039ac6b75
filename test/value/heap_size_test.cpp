// What a value takes of memory besides itself, held against what the allocator was asked for; and keys made of arguments.
#include <strata/value/array.hpp>
#include <strata/value/codec.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/heap_size.hpp>
#include <strata/value/key_writer.hpp>
#include <strata/value/range.hpp>
#include <strata/value/row.hpp>
#include <strata/value/uuid.hpp>

#include <support/catch.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <list>
#include <map>
#include <set>

namespace {

struct person {
    int id = 0;
    std::string name;
    std::optional<std::string> mail;
    std::vector<std::string> tags;
};
struct counted {
    [[nodiscard]] std::size_t heap_bytes() const noexcept { return 1234; }
    std::string text;
};
struct special {
    std::string text;
};

const std::string long_text(100, 'x');

template <class T>
std::size_t heap_of(const T& value) {
    return strata::heap_size<T>::of(value);
}

template <class... T>
std::string key_of(const T&... values) {
    std::string key;
    strata::detail::key_writer out{key};
    (static_cast<void>(strata::codec<T>::write(out, values)), ...);
    return key;
}

}  // namespace

BOOST_HANA_ADAPT_STRUCT(person, id, name, mail, tags);
template <>
struct strata::heap_size<special> {
    static std::size_t of(const special&) noexcept { return 77; }
};

TEST_CASE("what lies in the value itself takes nothing more", "[heap_size]") {
    CHECK(heap_of(7) == 0);
    CHECK(heap_of(7.0) == 0);
    CHECK(heap_of(std::string("short")) == 0);
    CHECK(heap_of(std::optional<int>{7}) == 0);
    CHECK(heap_of(std::optional<std::string>{}) == 0);
    CHECK(heap_of(std::vector<int>{}) == 0);
    CHECK(heap_of(std::array<int, 4>{}) == 0);
    CHECK(heap_of(std::pair{1, 2.0}) == 0);
    CHECK(heap_of(strata::uuid{}) == 0);
    CHECK(heap_of(strata::decimal{}) == 0);
    CHECK(heap_of(person{}) == 0);
    CHECK(heap_of(strata::row{}) == 0);
}

TEST_CASE("what was asked of the allocator counts, however deep", "[heap_size]") {
    const std::size_t text = long_text.capacity();
    CHECK(heap_of(long_text) == text);
    CHECK(heap_of(std::optional{long_text}) == text);
    CHECK(heap_of(std::vector<std::int64_t>(10)) == 80);
    CHECK(heap_of(std::vector<bool>(640)) == 80);
    CHECK(heap_of(strata::blob(33)) == 33);
    CHECK(heap_of(std::vector<std::string>{long_text, "short"}) == 2 * sizeof(std::string) + text);
    CHECK(heap_of(std::array<std::string, 2>{long_text, long_text}) == 2 * text);
    CHECK(heap_of(std::tuple{1, long_text, std::vector<int>(4)}) == text + 16);
    CHECK(heap_of(person{1, long_text, long_text, {long_text}}) == 3 * text + sizeof(std::string));
    CHECK(heap_of(std::vector<person>{{1, long_text, {}, {}}}) == sizeof(person) + text);
    CHECK(heap_of(std::list<int>{1, 2}) >= 2 * (sizeof(int) + 2 * sizeof(void*)));
    CHECK(heap_of(std::map<int, std::string>{{1, long_text}}) >= text + sizeof(std::string));
    CHECK(heap_of(counted{}) == 1234);
    CHECK(heap_of(std::vector<counted>(2)) == 2 * 1234 + 2 * sizeof(counted));
    CHECK(heap_of(special{}) == 77);
    CHECK(heap_of(strata::array<std::string>{{{1, 1}}, {long_text}}) == sizeof(strata::array_dimension) + sizeof(std::string) + text);
    CHECK(heap_of(strata::range<std::string>{.lower = long_text}) == text);
    CHECK(heap_of(strata::range<int>{.lower = 1}) == 0);
    std::vector<std::string> with_room;
    with_room.reserve(50);
    CHECK(heap_of(with_room) == 50 * sizeof(std::string));
}

TEST_CASE("equal arguments make equal keys, and others do not", "[key_writer]") {
    using namespace std::string_literals;
    const std::vector<std::string> keys{key_of(1),
                                        key_of(2),
                                        key_of(-1),
                                        key_of(1.0),
                                        key_of(0),
                                        key_of("a"s, "b"s),
                                        key_of("atb"s),
                                        key_of(0.0),
                                        key_of(-0.0),
                                        key_of(true),
                                        key_of(false),
                                        key_of("1"s),
                                        key_of(""s),
                                        key_of(std::nullopt),
                                        key_of(strata::blob{std::byte{'1'}}),
                                        key_of(strata::blob{}),
                                        key_of(1, 2),
                                        key_of(2, 1),
                                        key_of("ab"s, "c"s),
                                        key_of("a"s, "bc"s),
                                        key_of("abc"s),
                                        key_of("abc"s, std::nullopt),
                                        key_of("t\0"s),
                                        key_of("t"s),
                                        key_of("n"s, std::nullopt),
                                        key_of(std::nullopt, "n"s),
                                        key_of(std::vector<int>{1, 2}),
                                        key_of(std::vector<int>{1}, std::vector<int>{2}),
                                        key_of(std::vector<int>{1, 2}, std::vector<int>{}),
                                        key_of(std::vector<int>{}, std::vector<int>{1, 2}),
                                        key_of(std::vector<int>{}),
                                        key_of(std::vector<std::int64_t>{2, 1}),
                                        key_of(strata::array<int>{{{1, 1}, {2, 1}}, {1, 2}}),
                                        key_of(strata::array<int>{{{1, 0}, {2, 1}}, {1, 2}}),
                                        key_of(strata::range<int>{.lower = 1}),
                                        key_of(strata::range<int>{.upper = 1}),
                                        key_of(strata::range<int>{.lower = 1, .lower_included = false})};
    CHECK(std::set<std::string>(keys.begin(), keys.end()).size() == keys.size());
    CHECK(key_of(1) == key_of(std::int64_t{1}));  // one parameter of the database
    CHECK(key_of("a"s) == key_of(std::string_view{"a"}));
    CHECK(key_of(std::optional<int>{1}) == key_of(1));
    CHECK(key_of(std::optional<int>{}) == key_of(std::nullopt));
}

// Parameters from the members of a struct.
#include <value/fakes.hpp>

#include <strata/value/bind_members.hpp>

#include <boost/describe/class.hpp>
#include <boost/hana/adapt_struct.hpp>

using namespace strata_test;
using namespace strata::literals;

namespace {

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::optional<int> version;
    char code[4] = {};
};

struct branch {
    int id = 0;
    std::string name;
};
BOOST_DESCRIBE_STRUCT(branch, (), (id, name))

constexpr auto insert = "insert into account (id, owner, version, code) values (:id, :owner, :version, :code)"_sql;
constexpr auto rename_one = "update account set owner = :owner where id = :id and owner <> :owner"_sql;

/// What a driver does with a bound statement.
template <class Bound>
std::vector<fake_value> arguments(const Bound& b) {
    fake_writer w;
    b.for_each_argument([&]<class T>(std::size_t, const T& value) { CHECK(strata::codec<T>::write(w, value) == strata::errc::ok); });
    return w.written;
}

}  // namespace

BOOST_HANA_ADAPT_STRUCT(account, id, owner, version, code);

template <>
struct strata::mapping<branch> {
    static constexpr strata::renamed columns[] = {{.member = "name", .column = "branch_name"}};
};

TEST_CASE("members are arguments by name", "[bind]") {
    const account a{7, "Ada", {}, {'a', 'b'}};
    const std::vector<fake_value> all = arguments(strata::bind_members(insert, a));
    REQUIRE(all.size() == 4);
    CHECK(all[0].number == 7);
    CHECK(all[1].bytes == "Ada");
    CHECK(all[2].kind == strata::column_type::null);
    CHECK(all[3].bytes == "ab");
    // those that the text names, in its order, once each
    const std::vector<fake_value> some = arguments(strata::bind_members(rename_one, a));
    REQUIRE(some.size() == 2);
    CHECK(some[0].bytes == "Ada");
    CHECK(some[1].number == 7);
}

TEST_CASE("members are kept by reference until the call owns them", "[bind]") {
    account a{7, "Ada", 1, {}};
    const auto bound = strata::bind_members(insert, a);
    const auto owned = bound.own();
    a.owner = "Bob";
    CHECK(arguments(bound)[1].bytes == "Bob");
    CHECK(arguments(owned)[1].bytes == "Ada");
}

TEST_CASE("a renamed column is a parameter's name, too", "[bind]") {
    constexpr auto by_column = "insert into branch values (:id, :branch_name)"_sql;
    constexpr auto by_member = "insert into branch values (:id, :name)"_sql;
    const branch b{3, "north"};
    CHECK(arguments(strata::bind_members(by_column, b))[1].bytes == "north");
    CHECK(arguments(strata::bind_members(by_member, b))[1].bytes == "north");
    CHECK(strata::bind_members(by_member.named("add"), b).label() == "add");
}

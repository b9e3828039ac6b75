// compile.blocking: the smallest blocking program, doing what bench/raw/blocking_min.cpp does. The struct is adapted by
// Boost.Describe; by Hana, the other choice, it takes about 0.1 s more.
#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

#include <boost/describe/class.hpp>

using namespace strata::literals;

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(account, (), (id, owner, balance, version));

using database = strata::database<strata::stack<strata::single, strata::sqlite>>;

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    database db{strata::sqlite_options{.path = argv[1]}};
    const auto a = db.maybe_one<account>("select id, owner, balance, version from account where id = :id"_sql("id"_arg = 7));
    return a && a->owner == "owner-7" ? 0 : 1;
}

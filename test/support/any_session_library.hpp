// A user's library whose .cpp files see neither a stack nor a driver: only sessions without their type.
#ifndef STRATA_TEST_SUPPORT_ANY_SESSION_LIBRARY_HPP
#define STRATA_TEST_SUPPORT_ANY_SESSION_LIBRARY_HPP

#include <strata/core/result.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace strata::inline STRATA_ABI {
class any_session;
class any_async_session;
}  // namespace strata::inline STRATA_ABI
namespace boost::asio {
class any_io_executor;
template <typename, typename>
class awaitable;
}  // namespace boost::asio

namespace apart {

struct person {
    std::int64_t id = 0;
    std::string name;
    std::optional<std::string> nick;
    int age = 0;

    friend bool operator==(const person&, const person&) = default;
};

std::int64_t add(strata::any_session& s, const person& who);
strata::result<std::int64_t> try_add(strata::any_session& s, const person& who);
std::int64_t add_all(strata::any_session& s, const std::vector<person>& people);
person load(strata::any_session& s, std::int64_t id);
std::optional<person> find(strata::any_session& s, std::int64_t id);
std::vector<std::string> names_of(strata::any_session& s, const std::vector<std::int64_t>& ids);
/// By a stream.
int total_age(strata::any_session& s);
/// By a stream that is dropped after its first row.
std::string first_name(strata::any_session& s);
/// With more arguments than fit into the small list.
int wide(strata::any_session& s);
std::int64_t remove_all(strata::any_session& s);
/// From person 1 to person 2, in a transaction.
strata::errc move_years(strata::any_session& s, int years);
void throw_inside(strata::any_session& s);
int with_savepoint(strata::any_session& s);

template <class T>
using awaited = boost::asio::awaitable<T, boost::asio::any_io_executor>;

awaited<void> async_add(strata::any_async_session& s, person who);
awaited<std::optional<person>> async_find(strata::any_async_session& s, std::int64_t id);
awaited<strata::errc> async_move_years(strata::any_async_session& s, int years);
awaited<void> async_throw_inside(strata::any_async_session& s);
awaited<std::int64_t> async_remove_all(strata::any_async_session& s);

}  // namespace apart

#endif

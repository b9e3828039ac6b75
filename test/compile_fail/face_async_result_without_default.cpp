// expect: strata: Asio needs a value also when there is an error: the type of an asynchronous result must be default-constructible
// needs: asio
#include "face.hpp"
#include <strata/async.hpp>

struct picky {
    explicit picky(int) {}
};

#ifdef STRATA_CONTROL
using result = int;
#else
using result = picky;
#endif

void f(strata::async_database<bank>& db) {
    db.async_transaction([](strata::async_database<bank>::transaction_type&) -> boost::asio::awaitable<result> { co_return result{1}; },
                         [](std::exception_ptr, const result&) {});
}

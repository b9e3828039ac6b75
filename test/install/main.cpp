// The installed headers compile, and the targets bring SQLite and threads.
#include <strata/core/config.hpp>
#include <strata/core/result.hpp>

#include <sqlite3.h>

#include <thread>

int main() {
    std::thread([] { sqlite3_libversion_number(); }).join();
    const strata::result<int> r = 1;
    return r.has_value() && STRATA_VERSION_MAJOR == 0 ? 0 : 1;
}

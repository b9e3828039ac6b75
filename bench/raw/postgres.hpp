// What the bases of the postgres lines share: a connection, and how numbers look on the wire. Nothing of strata.
#ifndef BENCH_RAW_POSTGRES_HPP
#define BENCH_RAW_POSTGRES_HPP

#include "../measure.hpp"

#include <libpq-fe.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace bench {

inline PGconn* connect(const char* url) {
    PGconn* const db = ::PQconnectdb(url);
    if (::PQstatus(db) != CONNECTION_OK) give_up(::PQerrorMessage(db));
    return db;
}

inline void prepare(PGconn* db, const char* name, const char* text) {
    PGresult* const r = ::PQprepare(db, name, text, 0, nullptr);
    if (::PQresultStatus(r) != PGRES_COMMAND_OK) give_up(::PQerrorMessage(db));
    ::PQclear(r);
}

inline std::uint16_t swapped(std::uint16_t n) noexcept {
    if constexpr (std::endian::native == std::endian::little) n = __builtin_bswap16(n);
    return n;
}
inline std::uint32_t swapped(std::uint32_t n) noexcept {
    if constexpr (std::endian::native == std::endian::little) n = __builtin_bswap32(n);
    return n;
}
inline std::uint64_t swapped(std::uint64_t n) noexcept {
    if constexpr (std::endian::native == std::endian::little) n = __builtin_bswap64(n);
    return n;
}
template <class Unsigned>
Unsigned read(const char* at) noexcept {
    Unsigned n;
    std::memcpy(&n, at, sizeof n);
    return swapped(n);
}

template <class Unsigned>
char* write(char* at, Unsigned n) noexcept {
    n = swapped(n);
    std::memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

inline void run(PGconn* db, const char* sql) {
    PGresult* const r = ::PQexec(db, sql);
    if (::PQresultStatus(r) != PGRES_COMMAND_OK) give_up(::PQerrorMessage(db));
    ::PQclear(r);
}

}  // namespace bench

#endif

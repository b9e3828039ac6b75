# Sourced by example/run.sh, test/run.sh and bench/run.sh: finds the tools and libraries that a command needs,
# and installs those that are missing with apt-get. What is there already, from wherever it came, is taken.
#
#   strata_require yes|no GROUP...    GROUP: build sqlite libpq postgres tests examples clang bench pqxx mutants
#
# With "no" the missing packages are only named and the script ends with status 1. Afterwards CXX is a g++ >= 12 (or
# what CXX named before), STRATA_CLANGXX a clang++ >= 16 or empty, and CMAKE_GENERATOR Ninja where that is installed.

strata_clang_versions="19 22 21 20 18 17 16"

strata_fail() {
    printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------- what is there

strata_have() { command -v "$1" >/dev/null 2>&1; }

strata_major() { "$1" -dumpversion 2>/dev/null | cut -d. -f1; }

strata_find_cxx() {
    local candidate
    if [ -n "${CXX:-}" ]; then
        strata_have "${CXX%% *}" || strata_fail "CXX names '$CXX', which is not there"
        return 0
    fi
    for candidate in g++ g++-15 g++-14 g++-13 g++-12; do
        if strata_have "$candidate" && [ "$(strata_major "$candidate")" -ge 12 ]; then
            export CXX=$candidate
            return 0
        fi
    done
    return 1
}

strata_find_clang() {
    local version
    if [ -n "${STRATA_CLANGXX:-}" ]; then
        strata_have "$STRATA_CLANGXX" || strata_fail "STRATA_CLANGXX names '$STRATA_CLANGXX', which is not there"
        return 0
    fi
    for version in $strata_clang_versions; do
        if strata_have "clang++-$version"; then
            export STRATA_CLANGXX=clang++-$version
            return 0
        fi
    done
    if strata_have clang++ && [ "$(strata_major clang++)" -ge 16 ]; then
        export STRATA_CLANGXX=clang++
        return 0
    fi
    export STRATA_CLANGXX=
    return 1
}

strata_postgres_server() {
    local server
    for server in "$(pg_config --bindir 2>/dev/null)/initdb" /usr/lib/postgresql/*/bin/initdb; do
        if [ -x "$server" ]; then return 0; fi
    done
    return 1
}

strata_header() { printf '#include <%s>\n' "$1" | ${CXX:-c++} -E -x c++ - >/dev/null 2>&1; }

strata_boost_is_new() {
    [ "$(printf '#include <boost/version.hpp>\nBOOST_VERSION\n' | ${CXX:-c++} -E -P -x c++ - 2>/dev/null | tail -n 1)" -ge 108100 ] 2>/dev/null
}

strata_cmake_is_new() {
    [ "$(cmake --version 2>/dev/null | awk 'NR == 1 { split($3, v, "."); print v[1] * 1000 + v[2] }')" -ge 3023 ] 2>/dev/null
}

strata_clang_sanitizes() {
    strata_find_clang && echo 'int main() {}' | "$STRATA_CLANGXX" -fsanitize=address -x c++ - -o /dev/null >/dev/null 2>&1
}

# --------------------------------------------------------------------------------------------- what is missing

# (Under pipefail a reader must not end before its writer, so no grep -q.)
# The first of the packages that apt can install, or the first of all when apt knows nothing yet.
strata_first_available() {
    local package
    for package in "$@"; do
        if LC_ALL=C apt-cache policy "$package" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null; then
            echo "$package"
            return
        fi
    done
    echo "$1"
}

strata_clang_packages() {
    local version names=() package
    for version in $strata_clang_versions; do names+=("clang-$version"); done
    package=$(strata_first_available "${names[@]}")
    version=${package#clang-}
    echo "$package"
    if LC_ALL=C apt-cache policy "libclang-rt-$version-dev" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null; then
        echo "libclang-rt-$version-dev"
    fi
}

# Prints the packages that the groups lack, one a line.
strata_missing_packages() {
    local group
    for group in "$@"; do
        case $group in
        build)
            strata_find_cxx || echo g++
            strata_cmake_is_new || echo cmake
            strata_have ninja || strata_have make || echo make
            strata_boost_is_new || strata_first_available libboost1.81-dev libboost1.83-dev libboost1.88-dev libboost1.90-dev libboost-dev
            ;;
        sqlite) strata_header sqlite3.h || echo libsqlite3-dev ;;
        libpq) [ "$(pg_config --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 14 ] 2>/dev/null || echo libpq-dev ;;
        postgres)
            strata_postgres_server || echo postgresql
            strata_have psql || echo postgresql-client
            strata_have pgbouncer || [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
            strata_have openssl || echo openssl
            ;;
        tests) strata_header catch2/catch_all.hpp || strata_header catch2/catch.hpp || echo catch2 ;;
        examples) [ -r /usr/share/unicode/UnicodeData.txt ] || echo unicode-data ;;
        clang) strata_clang_sanitizes || strata_clang_packages ;;
        bench)
            strata_have valgrind || echo valgrind
            strata_have strace || echo strace
            ;;
        pqxx) strata_header pqxx/pqxx || echo libpqxx-dev ;;
        mutants) strata_have git || echo git ;;
        *) strata_fail "unknown group of packages: $group" ;;
        esac
    done
}

strata_apt() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        strata_have sudo || strata_fail "installing needs root: run 'apt-get install $*' as root, or install sudo"
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "${strata_apt_command[@]}" "$@"
}

strata_require() {
    local install=$1 missing
    shift
    missing=$(strata_missing_packages "$@" | tr '\n' ' ')
    if [ -n "$missing" ]; then
        if [ "$install" = no ]; then
            echo "missing packages: $missing"
            exit 1
        fi
        strata_have apt-get || strata_fail "missing: ${missing% }; there is no apt-get here, please install them by hand"
        echo "missing packages: $missing"
        if [ "$(id -u)" -eq 0 ]; then echo "installing them with apt-get"; else echo "installing them with sudo apt-get"; fi
        strata_apt_command=(update -qq)
        strata_apt || strata_fail "apt-get update failed"
        missing=$(strata_missing_packages "$@" | tr '\n' ' ')  # the lists are known now
        # nothing of the user's is removed for us, e.g. another version of Boost
        strata_apt_command=(install -y -q --no-install-recommends --no-remove)
        # shellcheck disable=SC2086
        strata_apt $missing || strata_fail "apt-get could not install: $missing"
        hash -r
        missing=$(strata_missing_packages "$@" | tr '\n' ' ')
        [ -z "$missing" ] || strata_fail "installed, and yet missing or too old: $missing"
    fi
    # the probes ran in subshells: find once more, here
    strata_find_cxx || strata_fail "no g++ >= 12"
    strata_find_clang || true
    if [ -z "${CMAKE_GENERATOR:-}" ] && strata_have ninja; then export CMAKE_GENERATOR=Ninja; fi
}

# Sourced by checks that compile many small files: what passed is not compiled again while its inputs are the same.
#
# A stamp holds a key (compiler, flags) and the content hash of each file of the tree that the compiler read.

declare -A stamps_hash

# stamps_load FOLDER...: hash what the tree's files hold now, once.
stamps_load() {
    local hash file
    while read -r hash file; do stamps_hash[$file]=$hash; done < <(find "$@" -type f \( -name '*.hpp' -o -name '*.cpp' -o -name '*.sh' \) \
        -exec sha256sum {} +)
}

# stamps_key COMPILER FLAGS...: what else the outcome depends on.
stamps_key() {
    { printf '%s\n' "$@"; "$1" --version; printf '#include <boost/version.hpp>\nBOOST_VERSION\n' | "$1" -E -P -x c++ - | tail -n 1; } | sha256sum |
        cut -d ' ' -f 1
}

# stamps_fresh STAMP KEY: does the stamp stand, with the same key and the same files?
stamps_fresh() {
    local hash file
    [ -r "$1" ] || return 1
    {
        read -r hash
        [ "$hash" = "$2" ] || return 1
        while read -r hash file; do [ "${stamps_hash[$file]:-gone}" = "$hash" ] || return 1; done
    } <"$1"
}

# stamps_write STAMP KEY DEPENDENCIES: DEPENDENCIES is a make rule, as compilers write it with -MF.
stamps_write() {
    local file
    mkdir -p "$(dirname "$1")"
    {
        echo "$2"
        tr ' \\' '\n\n' <"$3" | sed 's|^\./||' | sort -u | while read -r file; do
            if [ -n "$file" ] && [ -n "${stamps_hash[$file]:-}" ]; then echo "${stamps_hash[$file]} $file"; fi
        done
    } >"$1.new"
    mv "$1.new" "$1"
}

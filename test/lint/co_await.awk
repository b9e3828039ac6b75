# Finds co_await inside a condition: if, while, switch, for, an assertion macro, or a statement with `?`.
# g++ 12 miscompiles it, at every level of optimisation and often silently; bind the value first:
#     auto r = co_await ...; if (r) ...
# A coroutine lambda's body inside such parentheses is a coroutine of its own, so braces start afresh.
#
# And finds a lambda that captures by value in the same statement as a co_await: g++ 12 destroys such captures twice.
# The same happens to other aggregates that are made there, but which types are aggregates is not to be seen here.
#
# Works on whole files: comments, strings and character literals are blanked first.

function report(at, what) {
    printf "%s:%d: %s; bind it to a variable first (g++ 12 miscompiles this)\n", file, at, what
    found = 1
}

# Whether something in a lambda's brackets is captured by value, or moved into it.
function takes_values(captures,   n, i, item) {
    while (gsub(/\([^()]*\)|\{[^{}]*\}/, "", captures)) {}
    n = split(captures, item, ",")
    for (i = 1; i <= n; i++) {
        gsub(/[ \t\n]/, "", item[i])
        if (item[i] != "" && item[i] != "this" && item[i] !~ /^&/) return 1
    }
    return 0
}

function check(   n, i, c, line, depth, word, brace, kind, question, awaited, top, two, quote, raw, stop, before) {
    n = length(text)
    line = 1
    depth = 0            # of (), {} on the stack
    question[0] = 0      # per level of braces: depth + 1 of the outermost `?` of the statement
    awaited[0] = 0       # line of a co_await of the statement
    deepest[0] = 0       # depth + 1 of the innermost co_await: `co_await f(c ? a : b)` is harmless
    captured[0] = 0      # line of a lambda of the statement that captures by value
    brace = 0
    word = ""
    before = ""          # the last character that is not white
    i = 1
    while (i <= n) {
        c = substr(text, i, 1)
        two = substr(text, i, 2)
        if (two == "//") {
            while (i <= n && substr(text, i, 1) != "\n") i++
            continue
        }
        if (two == "/*") {
            while (i <= n && substr(text, i, 2) != "*/") { if (substr(text, i, 1) == "\n") line++; i++ }
            i += 2
            continue
        }
        if (c == "\"" && word ~ /R$/) {  # raw string
            stop = index(substr(text, i + 1), "(")
            raw = ")" substr(text, i + 1, stop - 1) "\""
            while (i <= n && substr(text, i, length(raw)) != raw) { if (substr(text, i, 1) == "\n") line++; i++ }
            i += length(raw)
            word = ""
            continue
        }
        if (c == "\"" || (c == "'" && word !~ /^[0-9]/)) {
            quote = c
            i++
            while (i <= n && substr(text, i, 1) != quote) { if (substr(text, i, 1) == "\\") i++; i++ }
            i++
            word = ""
            continue
        }
        if (c ~ /[A-Za-z0-9_]/) {
            word = word c
            before = c
            i++
            if (i <= n && substr(text, i, 1) ~ /[A-Za-z0-9_]/) continue
            if (word == "co_await") {
                for (top = depth; top > 0 && kind[top] != "{"; top--)
                    if (kind[top] != "(") { report(line, "co_await inside " kind[top] " (...)"); break }
                awaited[brace] = line
                if (depth + 1 > deepest[brace]) deepest[brace] = depth + 1
            }
            if (word == "constexpr" && last == "if") word = "if"
            last = word
            continue
        }
        if (c == "\n") line++
        if (c == "(") {
            depth++
            kind[depth] = "("
            if (last ~ /^(if|while|switch|for|assert|CHECK[A-Z_]*|REQUIRE[A-Z_]*)$/) kind[depth] = last
        } else if (c == ")") {
            if (depth > 0 && kind[depth] != "{") depth--
        } else if (c == "{") {
            depth++
            kind[depth] = "{"
            brace++
            question[brace] = 0
            awaited[brace] = 0
            deepest[brace] = 0
            captured[brace] = 0
        } else if (c == "}") {
            while (depth > 0 && kind[depth] != "{") depth--
            if (depth > 0) depth--
            if (brace > 0) brace--
        } else if (c == "[" && substr(text, i + 1, 1) != "[" &&
                   (last ~ /^(return|co_await|co_return|co_yield)$/ || before !~ /[])A-Za-z0-9_[]/)) {
            stop = index(substr(text, i), "]")
            if (takes_values(substr(text, i + 1, stop - 2))) captured[brace] = line
        } else if (c == "?") {
            if (!question[brace] || depth + 1 < question[brace]) question[brace] = depth + 1
        }
        if (c == ";" || c == "}") {
            # `;` inside parentheses belongs to a for
            if (depth == 0 || kind[depth] == "{") {
                if (c == ";" && question[brace] && awaited[brace] && question[brace] <= deepest[brace])
                    report(awaited[brace], "co_await inside a statement with ?:")
                if (captured[brace] && awaited[brace])
                    report(captured[brace], "a lambda that captures by value in a statement with co_await")
                question[brace] = 0
                awaited[brace] = 0
                deepest[brace] = 0
                captured[brace] = 0
            }
        }
        if (c !~ /[ \t\n]/) { last = ""; before = c }
        word = ""
        i++
    }
}

FNR == 1 {
    if (file != "") check()
    file = FILENAME
    text = ""
}
{ text = text $0 "\n" }
END {
    if (file != "") check()
    exit found
}

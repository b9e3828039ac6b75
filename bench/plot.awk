# Draws curves as an SVG that is readable on light and dark backgrounds.
#
#   awk -v title=T -v of_x=TEXT -v of_y=TEXT [-v divide=N] -f bench/plot.awk TABLE
#
# TABLE: columns divided by tabs; the first line names them, the first column is x, drawn logarithmically, each other one is a curve
# from zero. `divide`: of all y. Curves differ by colour, dash and mark, so none of them is told by colour alone.

function px(x) { return left + (log(x) - log(x_of[1])) / (log(x_of[n]) - log(x_of[1])) * width }
function py(y) { return top + height - y / y_end * height }
function text(x, y, anchor, what, more) {
    gsub(/&/, "\\&amp;", what)
    gsub(/</, "\\&lt;", what)
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor, more, what
}
function line(x1, y1, x2, y2, class) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class
}
function mark(c, x, y) {
    if (c % 3 == 2) printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\" fill=\"%s\"/>\n", x - 4, y - 4, color[c]
    else if (c % 3 == 1) printf "<path d=\"M%.1f %.1fl5 9h-10z\" fill=\"%s\"/>\n", x, y - 5, color[c]
    else printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>\n", x, y, color[c]
}

BEGIN { FS = "\t"; if (!divide) divide = 1 }
NR == 1 { curves = NF - 1; for (c = 1; c <= curves; ++c) name[c] = $(c + 1); next }
NF > 1 {
    x_of[++n] = $1
    for (c = 1; c <= curves; ++c) {
        y_of[c, n] = $(c + 1) / divide
        if (y_of[c, n] > y_most) y_most = y_of[c, n]
    }
}
END {
    if (n < 2 || y_most <= 0) { print "plot.awk: nothing to draw" > "/dev/stderr"; exit 1 }
    left = 70; top = 48; width = 610; height = 320
    split("#6e7681 #bf6a02 #2f81f7 #2da44e #a371f7 #da3633", color, " ")
    split("6,4 2,3 none 9,3,2,3 4,2 12,4", dash, " ")
    # About six steps of 1, 2 or 5 times a power of ten.
    step = 10 ^ int(log(y_most / 6) / log(10) + 100) / 10 ^ 100
    if (y_most / step > 35) step *= 10
    else if (y_most / step > 14) step *= 5
    else if (y_most / step > 7) step *= 2
    y_end = step * (int(y_most / step) + 1)

    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 440\" role=\"img\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#6e7681\">"
    printf "<title>%s</title>\n", title
    print "<style>.grid{stroke:#6e7681;stroke-opacity:.25}.axis{stroke:#6e7681}</style>"
    text(left, 28, "start", title, " font-size=\"16\" font-weight=\"bold\"")
    for (y = 0; y <= y_end * 1.0001; y += step) {
        line(left, py(y), left + width, py(y), y == 0 ? "axis" : "grid")
        text(left - 8, py(y) + 4, "end", sprintf("%g", y), "")
    }
    for (i = 1; i <= n; ++i) {
        line(px(x_of[i]), top, px(x_of[i]), top + height, i == 1 ? "axis" : "grid")
        text(px(x_of[i]), top + height + 20, "middle", x_of[i], "")
    }
    text(left + width / 2, top + height + 46, "middle", of_x, "")
    text(0, 0, "middle", of_y, sprintf(" transform=\"translate(20 %.1f) rotate(-90)\"", top + height / 2))
    for (c = 1; c <= curves; ++c) {
        points = ""
        for (i = 1; i <= n; ++i) points = points sprintf("%.1f,%.1f ", px(x_of[i]), py(y_of[c, i]))
        printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\" stroke-dasharray=\"%s\"/>\n", points, color[c], dash[c]
        for (i = 1; i <= n; ++i) mark(c, px(x_of[i]), py(y_of[c, i]))
    }
    # The legend, in the order of the curves at their right ends, where few have anything to the left of them.
    for (c = 1; c <= curves; ++c) {
        y = top + 20 + 22 * (curves - c)
        printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2.5\" stroke-dasharray=\"%s\"/>\n", \
               left + 16, y, left + 56, y, color[c], dash[c]
        mark(c, left + 36, y)
        text(left + 66, y + 4, "start", name[c], "")
    }
    print "</svg>"
}

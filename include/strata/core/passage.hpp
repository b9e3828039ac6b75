// The passage of one operation through the interceptors of its stack: a resumable algorithm that does no I/O.
//
// Going in, `admit` is called outermost first; going out, `settle` innermost first. An `again(after)` of
// layer k sleeps and enters once more at k + 1, so a layer outside k sees one operation and a layer inside
// sees each attempt. Whoever drives it (a blocked thread, Asio, a simulation) gives it time and does what the
// returned step says:
//
//   attempt   lease a connection and do the work, put its error into `result()`, then call `landed`
//   park      wait for `parked_on()` until `parked_until()`, then call `resume`
//   done      `result()` is final
//
// The happy path is inlined as a whole; everything else lies out of line.
#ifndef STRATA_CORE_PASSAGE_HPP
#define STRATA_CORE_PASSAGE_HPP

#include <strata/core/layers.hpp>

namespace strata::inline STRATA_ABI {

enum class step : std::uint8_t { attempt, park, done };

/// `Slot` is where the outcome lies: in the passage, or with `outcome&` where the caller wants to have it. Such a caller drives it to
/// `done` in one call, so there is never anything to abandon.
template <class Layers, class Op, class Slot = outcome>
class passage;

template <class... P, class Op, class Slot>
class passage<layers<P...>, Op, Slot> {
    static constexpr std::size_t depth = sizeof...(P);
    template <std::size_t K>
    using layer = std::remove_reference_t<decltype(std::declval<layers<P...>&>().template at<K>())>;
    template <std::size_t K>
    static constexpr bool is_asked = !Op::facts.inside_transaction || detail::goes_inside_transaction<layer<K>>;
    template <std::size_t K>
    static constexpr bool enters = is_asked<K> && (detail::admits_at<layer<K>> || detail::admits_untimed<layer<K>>);
    template <std::size_t K>
    static constexpr bool leaves = is_asked<K> && (detail::settles_at<layer<K>> || detail::settles_untimed<layer<K>>);

public:
    /// False when no hook that will be called takes a moment: then the clock is not read.
    static constexpr bool timed = []<std::size_t... I>(std::index_sequence<I...>) {
        return ((is_asked<I> && detail::is_timed<layer<I>>) || ... || false);
    }(std::index_sequence_for<P...>{});

    passage(layers<P...>& policies, Op& op) noexcept
        requires(!std::is_reference_v<Slot>)
        : policies_(policies), op_(op), result_(), entered_(0) {}
    /// `empty` holds no error yet.
    passage(layers<P...>& policies, Op& op, outcome& empty) noexcept
        requires(std::is_reference_v<Slot>)
        : policies_(policies), op_(op), result_(empty) {}
    passage(const passage&) = delete;
    passage& operator=(const passage&) = delete;
    /// Destroyed before it was done: every layer that was entered is abandoned, innermost first.
    ~passage() {
        if constexpr (!std::is_reference_v<Slot>) {
            if (entered_ != 0) [[unlikely]]
                abandon_down_to(0);
        }
    }

    [[nodiscard]] outcome& result() noexcept { return result_; }
    /// After `park`: the node, null when it is only time that is waited for.
    [[nodiscard]] waiter* parked_on() const noexcept { return parked_.on; }
    [[nodiscard]] time_point parked_until() const noexcept { return parked_.until; }

    /// Enters the outermost layer.
    [[nodiscard]] STRATA_INLINE step first(moment m) noexcept { return in<0>(m); }

    /// The attempt has ended with `result()`.
    [[nodiscard]] STRATA_INLINE step landed(moment m) noexcept { return out<depth>(m); }

    /// After `park`: the node was granted, time is up, or the operation was cancelled.
    [[nodiscard]] STRATA_COLD step resume(moment m) noexcept { return resume_at(m, std::index_sequence_for<P...>{}); }

private:
    /// Layers 0 .. n-1 are to be abandoned should the operation end here; nobody asks where it cannot.
    STRATA_INLINE void note_entered(std::size_t n) noexcept {
        if constexpr (!std::is_reference_v<Slot>) entered_ = n;
    }
    template <std::size_t K>
    STRATA_INLINE typename detail::frame_type<layer<K>>::type& frame() noexcept {
        return detail::frame_at<K>(frames_).value;
    }

    /// Enters layer K with a new frame: on the first pass, and again inside a layer that repeats.
    template <std::size_t K>
    STRATA_INLINE step in(moment m) noexcept {
        if constexpr (K == depth) {
            note_entered(depth);
            return step::attempt;
        } else {
            if constexpr (is_asked<K>) detail::begin_frame(detail::frame_at<K>(frames_));
            return ask<K>(m);
        }
    }

    /// Asks layer K, whose frame is there: on the way in, and after it was parked.
    template <std::size_t K>
    STRATA_INLINE step ask(moment m) noexcept {
        if constexpr (!enters<K>) {
            return in<K + 1>(m);
        } else if constexpr (std::is_void_v<decltype(detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m))>) {
            detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m);
            return in<K + 1>(m);
        } else {
            const verdict v = detail::call_admit(policies_.template at<K>(), op_, frame<K>(), m);
            if (v.kind == verdict::what::proceed) [[likely]]
                return in<K + 1>(m);
            if (v.kind == verdict::what::refuse) {
                if constexpr (K == 0)
                    return note_refusal<0>(v.code, v.after), step::done;  // nobody outside has to hear of it
                else
                    return refused<K>(v.code, v.after, m);
            }
            return held_up<K>(v, m);
        }
    }

    /// Layers 0 .. K-1 are still to be settled.
    template <std::size_t K>
    STRATA_INLINE step out(moment m) noexcept {
        if constexpr (K == 0) {
            note_entered(0);
            return step::done;
        } else if constexpr (!leaves<K - 1>) {
            return out<K - 1>(m);
        } else if constexpr (std::is_void_v<decltype(detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_,
                                                                         m))>) {
            detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_, m);
            return out<K - 1>(m);
        } else {
            const verdict v = detail::call_settle(policies_.template at<K - 1>(), op_, frame<K - 1>(), result_, m);
            if (v.kind == verdict::what::again) [[unlikely]] {
                // The engine, not the policy, refuses what could not begin in time; then the outcome stays as it is.
                if (op_.may_repeat(v.after, m)) return repeat<K - 1>(v.after, m);
            }
            return out<K - 1>(m);
        }
    }

    /// Out of line twins, so that cold re-entry does not copy the inlined paths.
    template <std::size_t K>
    STRATA_COLD step cold_in(moment m) noexcept {
        return in<K>(m);
    }
    template <std::size_t K>
    STRATA_COLD step cold_ask(moment m) noexcept {
        return ask<K>(m);
    }
    template <std::size_t K>
    STRATA_COLD step cold_out(moment m) noexcept {
        note_entered(K);
        return out<K>(m);
    }

    /// Layer K refused. Out of line, but not cold: an open breaker refuses all there is, and fast.
    template <std::size_t K>
    STRATA_NOINLINE step refused(errc code, duration retry_after, moment m) noexcept {
        note_refusal<K>(code, retry_after);
        return out<K>(m);
    }
    template <std::size_t K>
    STRATA_INLINE void note_refusal(errc code, duration retry_after) noexcept {
        note_entered(K);
        result_.error().set(code).set_local().set_retry_after(retry_after);  // it was empty
    }

    /// Layer K did not let the operation pass: it was not entered, or only parked.
    template <std::size_t K>
    STRATA_COLD step held_up(const verdict& v, moment m) noexcept {
        note_entered(K);
        switch (v.kind) {
            case verdict::what::fail:
                result_.replace(error{v.code, phase::execute});
                return cold_out<K>(m);
            case verdict::what::answer:
                result_.clear();
                return cold_out<K>(m);
            case verdict::what::park: {
                const time_point until = v.until;
                parked_ = {v.node, until < op_.deadline ? until : op_.deadline, K, v.code, false, v.works};
                note_entered(K + 1);  // destroyed while parked: the layer's frame must be abandoned too
                return step::park;
            }
            default:
                return cold_in<K + 1>(m);
        }
    }

    template <std::size_t K>
    STRATA_COLD step repeat(duration after, moment m) noexcept {
        note_entered(K + 1);
        parked_ = {nullptr, add_saturated(m.now, after), K, errc::timeout, true, false};
        return after > duration::zero() ? step::park : reenter<K>(m);
    }

    /// Frames inside the repeating layer begin anew; its own is kept.
    template <std::size_t K>
    STRATA_COLD step reenter(moment m) noexcept {
        ++op_.attempt;
        op_.waited_for_lease = false;
        result_.clear();
        return in<K + 1>(m);
    }

    template <std::size_t... I>
    step resume_at([[maybe_unused]] moment m, std::index_sequence<I...>) noexcept {
        step next = step::done;
        static_cast<void>(((parked_.at == I && (next = resume_layer<I>(m), true)) || ...));
        return next;
    }

    template <std::size_t K>
    STRATA_COLD step resume_layer(moment m) noexcept {
        const bool cancelled = op_.cancelled.load(std::memory_order_relaxed);
        if (!cancelled && m.now < parked_until() && (parked_.on == nullptr || !parked_.on->is_granted()))
            return step::park;  // woken for nothing
        if (parked_.asleep) {
            if (!cancelled) return reenter<K>(m);
            // Died in backoff: the layer that repeats is abandoned, those outside it see the cancel.
            detail::call_abandon(policies_.template at<K>(), frame<K>());
            result_.clear();
            return refused<K>(errc::cancelled, {}, m);
        }
        const bool in_time = !cancelled && m.now < op_.deadline;
        // It came, or the layer wants to be asked without it too.
        if (parked_.on != nullptr ? !parked_.on->withdraw() || (in_time && parked_.code == errc::ok) : in_time) return cold_ask<K>(m);
        detail::call_abandon(policies_.template at<K>(), frame<K>());
        if (!parked_.works || cancelled)
            return refused<K>(cancelled ? errc::cancelled : m.now < op_.deadline ? parked_.code : errc::timeout, {}, m);
        result_.replace(error{errc::timeout, phase::execute});
        return cold_out<K>(m);
    }

    STRATA_COLD void abandon_down_to(std::size_t outermost) noexcept {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (abandon_layer<depth - 1 - I>(outermost), ...);
        }(std::index_sequence_for<P...>{});
        entered_ = 0;
    }
    template <std::size_t K>
    void abandon_layer(std::size_t outermost) noexcept {
        if constexpr (is_asked<K>) {
            if (K < entered_ && K >= outermost) detail::call_abandon(policies_.template at<K>(), frame<K>());
        }
    }

    /// Where it waits. Written when it parks and only then, for an operation that never parks pays for nothing.
    struct parking {
        waiter* on;
        unset<time_point> until;
        std::size_t at;  ///< the layer
        errc code;       ///< what it is refused with when the layer's own patience ends
        bool asleep;     ///< by `again`, not by `admit`
        bool works;      ///< see verdict::works
    };

    layers<P...>& policies_;
    Op& op_;
    typename layers<P...>::frames frames_;
    Slot result_;
    std::size_t entered_;  ///< how many layers, from the outermost, have neither been settled nor abandoned (`note_entered`)
    parking parked_;
};

template <class Layers, class Op>
passage(Layers&, Op&) -> passage<Layers, Op>;

}  // namespace strata::inline STRATA_ABI

#endif

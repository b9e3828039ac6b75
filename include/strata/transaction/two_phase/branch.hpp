// One participant of a distributed transaction while that is on its way: an operation of its database, admitted once, whose connection
// is held from BEGIN until the branch has ended in whatever way.
#ifndef STRATA_TRANSACTION_TWO_PHASE_BRANCH_HPP
#define STRATA_TRANSACTION_TWO_PHASE_BRANCH_HPP

#include <strata/transaction/run.hpp>
#include <strata/transaction/two_phase/decision.hpp>
#include <strata/transaction/two_phase/last_resource.hpp>
#include <strata/transaction/two_phase/prepared.hpp>
#include <strata/transaction/two_phase/protocol.hpp>

#include <memory>
#include <optional>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A participant as the drive of the protocol sees it.
class two_phase_participant {
public:
    [[nodiscard]] virtual error begin() = 0;
    /// The caller's work is done: from now on its handle is of no use. Why the transaction must not go on.
    [[nodiscard]] virtual error end_work() = 0;
    /// The caller's, at the very end.
    virtual void run_hooks(error& e) noexcept = 0;
    /// A step of its own; `id`: the branch's. Whatever gives the connection back, or fails to prepare, is the last but for
    /// `complete` and `discard`.
    [[nodiscard]] virtual error perform(two_phase_step step, const std::string& id, bool& wrote) = 0;
    /// `note_decision`.
    [[nodiscard]] virtual error note(const std::string& id, const decision& d) = 0;
    [[nodiscard]] virtual prepared_branch as_prepared(std::uint32_t number) const noexcept = 0;

protected:
    ~two_phase_participant() = default;
};

/// What goes over the held connection, each command over as many resumes as it takes.
template <class Runtime>
class branch_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    enum class command : std::uint8_t { begin, prepare, commit, roll_back, end_prepared };

    branch_work(Runtime& rt, const transaction_plan<driver>& plan) noexcept : rt_(rt), plan_(plan) {}

    /// Before `commit`, of what has written: a COMMIT that gets no answer is looked up where the stack says so.
    void resolve() { end_ = transaction_end<driver>{plan_.resolves}; }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = go_on(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { held = nullptr; }

    connection* held = nullptr;
    command now = command::begin;
    std::string text;  ///< of `prepare` and `end_prepared`

private:
    /// `item` while the connection is kept.
    [[nodiscard]] signal go_on(connection& c, operation_base& op) {
        switch (now) {
            case command::begin: {
                const guarded guard{c, &op};
                error_ = {};
                const signal s = control(c, driver::begin(plan_.mode), error_);
                if (s != signal::done) return s;
                held = &c;
                return signal::item;
            }
            case command::prepare:
                return prepare(c, op);
            case command::commit:
                return end_.commit(c, error_);
            case command::roll_back:
                if (!std::exchange(rolls_back_, true)) {
                    const bool lost = [&] {
                        if constexpr (requires { c.is_lost(); })
                            return c.is_lost();
                        else
                            return false;
                    }();
                    error_ = error{lost ? errc::connection_lost : errc::transaction_aborted, "the distributed transaction was rolled back",
                                   phase::commit};
                    if (lost) error_.set_lost();
                }
                return end_.roll_back(c, error_);
            default: {
                const guarded unhurried{c, nullptr};
                const signal s = control(c, text, error_);
                if (s == signal::failed) error_.set(phase::commit);
                return s;
            }
        }
    }
    [[nodiscard]] signal prepare(connection& c, operation_base& op) {
        if (!rolls_back_) {
            const guarded guard{c, &op};
            signal s = signal::failed;
            if (asked_ || !(error_ = stopped(op, rt_.world()))) {
                asked_ = true;
                s = control(c, text, error_);
            }
            if (s == signal::done) return signal::item;
            if (s != signal::failed) return s;
            error_.set(phase::commit);
            rolls_back_ = true;
            may_be_prepared_ = asked_ && error_.health() >= health::lost;
        }
        if (may_be_prepared_) {  // the answer was lost
            error_.set(effect::unknown);
            return signal::failed;
        }
        return end_.roll_back(c, error_);
    }

    Runtime& rt_;
    const transaction_plan<driver> plan_;
    transaction_end<driver> end_;
    error error_;
    bool asked_ = false;
    bool rolls_back_ = false;
    bool may_be_prepared_ = false;
};

/// What each branch of a transaction has in common.
struct branch_options {
    duration deadline{};
    std::string_view name;
    std::span<const tag> tags;
    strata::priority priority = strata::priority::normal;
    duration finish_within{};
    std::optional<strata::isolation> isolation;
};

template <class Database>
class branch final : public two_phase_participant {
    using runtime_type = typename Database::runtime_type;
    using driver = typename runtime_type::driver;
    using work_type = branch_work<runtime_type>;
    using command = typename work_type::command;
    using op_type = operation<transaction_facts>;
    using handle_type = basic_transaction<runtime_type>;

public:
    struct seed {
        enlisted<Database>& where;
        const branch_options& options;
    };

    explicit branch(const seed& s)
        : where_(s.where), finish_within_(s.options.finish_within), rt_(s.where.db.shared_runtime()),
          work_(*rt_, plan_of(*rt_, {.isolation = s.options.isolation})),
          flight_(rt_->world(), rt_->policies(), rt_->connections(), op_, work_) {
        op_.name = s.options.name;
        op_.tags = s.options.tags;
        op_.priority = s.options.priority;
        op_.deadline = deadline_of(rt_->world(), s.options.deadline, nullptr);
    }
    branch(const branch&) = delete;
    branch& operator=(const branch&) = delete;
    /// Where something was thrown in the middle.
    ~branch() {
        if (work_.held == nullptr) return;
        try {
            static_cast<void>(say(command::roll_back));
        } catch (...) {  // no memory: the connection is given back as it is, and tidied there
        }
    }

    [[nodiscard]] handle_type& handle() noexcept { return *handle_; }

    [[nodiscard]] error begin() override {
        static_cast<void>(drive(flight_, rt_->world(), flight_.start()));
        if (flight_.thrown()) std::rethrow_exception(flight_.thrown());
        if (work_.held == nullptr) return std::move(flight_.result().error());
        users_.use.begin();
        ours_.use.begin();
        handle_.emplace(*rt_, *work_.held, op_, users_, 0u);
        own_.emplace(*rt_, *work_.held, op_, ours_, 0u);
        return {};
    }
    [[nodiscard]] error end_work() override {
        error e;
        if (!users_.use.try_end()) [[unlikely]]
            e = users_.end_late(op_);
        return verdict_of(users_.use, std::move(e));
    }
    void run_hooks(error& e) noexcept override {
        if (e.effect() == effect::applied)
            users_.hooks.run(true);
        else
            users_.run_hooks(e);
    }

    [[nodiscard]] error perform(two_phase_step step, const std::string& id, bool& wrote) override {
        switch (step) {
            case two_phase_step::commit:
                if (transaction_id_ != 0) work_.resolve();
                return say(command::commit);
            case two_phase_step::roll_back:
                static_cast<void>(say(command::roll_back));
                return {};
            default:
                break;
        }
        if constexpr (can_prepare<driver>) {
            using texts = typename driver::two_phase;
            switch (step) {
                case two_phase_step::ask:
                    return ask_transaction_id(*own_, where_.identity, transaction_id_, wrote);
                case two_phase_step::prepare:
                    return say(command::prepare, texts::prepare(id));
                case two_phase_step::commit_prepared:
                    return say(command::end_prepared, texts::commit(id));
                case two_phase_step::rollback_prepared:
                    return say(command::end_prepared, texts::roll_back(id));
                default:
                    break;
            }
            auto session = where_.db.try_session({.deadline = finish_within_, .name = op_.name});
            if (!session) return session.error();
            if (error e = check_identity(*session, where_.identity)) return e;
            return end_prepared(*session, id, transaction_id_, step == two_phase_step::complete);
        } else {
            return error{errc::misuse, "a last resource is not prepared", phase::commit};
        }
    }

    [[nodiscard]] error note(const std::string& id, const decision& d) override {
        if constexpr (can_prepare<driver>)
            return error{errc::misuse, "only a last resource notes a decision", phase::commit};
        else
            return where_.note(*own_, id, d);
    }
    [[nodiscard]] prepared_branch as_prepared(std::uint32_t number) const noexcept override {
        return {number, where_.identity, transaction_id_};
    }

private:
    /// Blocks until the command has ended: empty where it went well.
    [[nodiscard]] error say(command c, std::string text = {}) {
        if (work_.held == nullptr) return error{errc::misuse, "the branch has ended", phase::commit};
        work_.now = c;
        work_.text = std::move(text);
        const need n = drive(flight_, rt_->world(), flight_.resume());
        if (flight_.thrown()) std::rethrow_exception(flight_.thrown());
        return n == need::item ? error{} : std::move(flight_.result().error());
    }

    enlisted<Database>& where_;
    duration finish_within_;
    std::shared_ptr<runtime_type> rt_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename runtime_type::source, op_type, work_type>
        flight_;
    transaction_state users_;
    transaction_state ours_;
    std::optional<handle_type> handle_;  // the caller's
    std::optional<handle_type> own_;     // for what is asked and noted after the caller's work
    std::uint64_t transaction_id_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

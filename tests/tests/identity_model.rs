//! Random programs of scopes, traces, spans, `set_*`, tasks that are spawned, branches that are joined, futures that are
//! dropped and destructors that record, against a small model of the rules that say whose each of them is.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::{cell::RefCell, collections::BTreeMap, future::Future, pin::Pin, rc::Rc};

use futures_util::{future::join_all, poll};
use pandaprobe::{InCurrentScope, Scope, TraceBuilder, TraceData, current_client, testing::capture};
use proptest::{collection::vec, option, prelude::*};

/// A value of a slot: none, an id that is none, or one of three people.
type Value = Option<u8>;
/// Session and user.
type Who = [Value; 2];

#[derive(Clone, Debug)]
enum Op {
    Scope(Who, Vec<Op>),
    Trace(u32, Who, Vec<Op>),
    /// A trace that is begun here, and entered inside of a scope.
    Handle(u32, Who, Who, Vec<Op>),
    Span(u32, Vec<Op>),
    Set(usize, u8),
    /// Handed over.
    Spawn(Vec<Op>),
    /// A trace in two scopes, spawned as it is written: handed over or not.
    Written(u32, Who, Who, bool, Vec<Op>),
    /// Not handed over.
    Bare(Vec<Op>),
    /// A task that has no scope, only the client: its `set_*` is refused, and its trace is nobody's.
    Refused(u32, usize, u8),
    /// Branches in one task, which share the scope around them.
    Join(Vec<Vec<Op>>),
    /// Branches in one task, each with a scope of its own.
    JoinApart(Vec<Vec<Op>>),
    /// Polled once, and dropped.
    Dropped(Vec<Op>),
    /// A trace that a destructor records, when what follows is done or dropped.
    OnDrop(u32),
    Yield,
}

fn who() -> impl Strategy<Value = Who> {
    let value = || option::weighted(0.5, 0..4u8);
    [value(), value()]
}

fn program() -> impl Strategy<Value = Vec<Op>> {
    let op = leaf(true).prop_recursive(5, 48, 5, |inner| {
        let body = vec(inner, 0..5);
        prop_oneof![
            4 => within_a_task(body.clone()),
            1 => body.clone().prop_map(Op::Spawn),
            1 => (who(), who(), any::<bool>(), body.clone())
                .prop_map(|(one, two, handed, body)| Op::Written(0, one, two, handed, body)),
            1 => body.prop_map(Op::Bare),
            1 => vec(branch(), 0..4).prop_map(Op::Join),
            1 => vec(branch(), 0..4).prop_map(Op::JoinApart),
            1 => branch().prop_map(Op::Dropped),
        ]
    });
    vec(op, 1..6).prop_map(|mut ops| {
        number(&mut ops, &mut 0);
        ops
    })
}

/// What takes turns with others must not wait for the executor: the model knows no queue of tasks.
fn branch() -> impl Strategy<Value = Vec<Op>> {
    let op = leaf(false).prop_recursive(3, 16, 4, |inner| {
        let body = vec(inner, 0..4);
        prop_oneof![
            6 => within_a_task(body.clone()),
            1 => vec(body.clone(), 0..3).prop_map(Op::Join),
            1 => vec(body.clone(), 0..3).prop_map(Op::JoinApart),
            1 => body.prop_map(Op::Dropped),
        ]
    });
    vec(op, 0..5)
}

fn within_a_task<S: Strategy<Value = Vec<Op>> + Clone + 'static>(body: S) -> impl Strategy<Value = Op> {
    prop_oneof![
        (who(), body.clone()).prop_map(|(who, body)| Op::Scope(who, body)),
        (who(), body.clone()).prop_map(|(who, body)| Op::Trace(0, who, body)),
        (who(), who(), body.clone()).prop_map(|(who, scope, body)| Op::Handle(0, who, scope, body)),
        body.prop_map(|body| Op::Span(0, body)),
    ]
}

fn leaf(spawns: bool) -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Yield),
        2 => (0..2usize, 0..4u8).prop_map(|(slot, value)| Op::Set(slot, value)),
        2 => Just(Op::Span(0, vec![])),
        2 => who().prop_map(|who| Op::Trace(0, who, vec![])),
        1 => Just(Op::OnDrop(0)),
        u32::from(spawns) => (0..2usize, 0..4u8).prop_map(|(slot, value)| Op::Refused(0, slot, value)),
    ]
}

/// Gives each trace and span a name of its own.
fn number(ops: &mut [Op], next: &mut u32) {
    for op in ops {
        match op {
            Op::Trace(name, _, body)
            | Op::Handle(name, _, _, body)
            | Op::Written(name, _, _, _, body)
            | Op::Span(name, body) => {
                *next += 1;
                *name = *next;
                number(body, next);
            }
            Op::Refused(name, ..) | Op::OnDrop(name) => {
                *next += 1;
                *name = *next;
            }
            Op::Scope(_, body) | Op::Spawn(body) | Op::Bare(body) | Op::Dropped(body) => number(body, next),
            Op::Join(bodies) | Op::JoinApart(bodies) => bodies.iter_mut().for_each(|body| number(body, next)),
            Op::Set(..) | Op::Yield => {}
        }
    }
}

// ---- the program itself

fn text(value: u8) -> String {
    if value == 0 { String::new() } else { format!("p{value}") }
}

fn scope(who: Who) -> Scope {
    let scope = who[0].map_or_else(Scope::new, |session| Scope::new().session(text(session)));
    match who[1] {
        Some(user) => scope.user(text(user)),
        None => scope,
    }
}

fn trace(name: u32, who: Who) -> TraceBuilder {
    let mut trace = pandaprobe::trace(name.to_string());
    if let Some(session) = who[0] {
        trace = trace.session_id(text(session));
    }
    if let Some(user) = who[1] {
        trace = trace.user_id(text(user));
    }
    trace
}

fn run(ops: Vec<Op>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut destructors = Vec::new();
        for op in ops {
            match op {
                Op::Scope(who, body) => scope(who).scope(run(body)).await,
                Op::Trace(name, who, body) => trace(name, who).scope(|_| run(body)).await,
                Op::Handle(name, who, around, body) => {
                    let handle = trace(name, who).start();
                    scope(around).scope(handle.scope(run(body))).await;
                }
                Op::Span(name, body) => pandaprobe::span(name.to_string()).scope(run(body)).await,
                Op::Set(slot, value) => set(slot, value),
                Op::Spawn(body) => drop(tokio::spawn(run(body).in_current_scope()).await),
                Op::Written(name, one, two, handed, body) => {
                    let inner = trace(name, [None; 2]).scope(|_| run(body));
                    let written = scope(one).scope(scope(two).scope(inner));
                    let task = if handed { pandaprobe::spawn(written) } else { tokio::spawn(written) };
                    drop(task.await);
                }
                Op::Bare(body) => drop(tokio::spawn(run(body)).await),
                Op::Refused(name, slot, value) => drop(tokio::spawn(refused(name, slot, value)).await),
                Op::Join(bodies) => drop(join_all(bodies.into_iter().map(run)).await),
                Op::JoinApart(bodies) => {
                    drop(join_all(bodies.into_iter().map(|body| run(body).in_current_scope())).await);
                }
                Op::Dropped(body) => {
                    let mut future = run(body);
                    let _ = poll!(&mut future);
                }
                Op::OnDrop(name) => destructors.push(Destructor(name)),
                Op::Yield => tokio::task::yield_now().await,
            }
        }
    })
}

/// For a task without a scope.
fn refused(name: u32, slot: usize, value: u8) -> impl Future<Output = ()> + Send + 'static {
    let client = current_client();
    async move {
        set(slot, value);
        if let Some(client) = client {
            client.trace(name.to_string()).run(|_| ());
        }
    }
}

fn set(slot: usize, value: u8) {
    match slot {
        0 => pandaprobe::set_session(text(value)),
        _ => pandaprobe::set_user(text(value)),
    }
}

struct Destructor(u32);

impl Drop for Destructor {
    fn drop(&mut self) {
        trace(self.0, [None; 2]).run(|_| ());
    }
}

// ---- the model

#[derive(Default)]
struct Frame {
    outer: Option<Rc<Frame>>,
    who: RefCell<Who>,
    /// The trace it is in, and whether it is the border of that.
    trace: Option<(usize, bool)>,
    /// It is a span's: `set_*` goes to what is around it.
    is_span: bool,
}

struct Begun {
    name: u32,
    who: Who,
    under: Who,
}

#[derive(Default)]
struct Model {
    traces: Vec<Begun>,
    /// Which trace each span landed in.
    spans: BTreeMap<u32, u32>,
}

fn or(one: Who, other: Who) -> Who {
    [one[0].or(other[0]), one[1].or(other[1])]
}

impl Frame {
    fn layers(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.outer.as_deref())
    }

    fn says(&self) -> Who {
        self.layers().fold([None; 2], |who, frame| or(who, *frame.who.borrow()))
    }

    fn trace(&self) -> Option<usize> {
        self.layers().find_map(|frame| frame.trace).map(|(trace, _)| trace)
    }

    /// What is said inside of a trace, and around it.
    fn around(&self, trace: usize) -> (Who, Who) {
        let (mut inside, mut outside, mut is_inside) = ([None; 2], [None; 2], true);
        for frame in self.layers() {
            let place = if is_inside { &mut inside } else { &mut outside };
            *place = or(*place, *frame.who.borrow());
            is_inside &= frame.trace != Some((trace, true));
        }
        (inside, outside)
    }

    fn below(self: &Rc<Self>, who: Who, trace: Option<(usize, bool)>, is_span: bool) -> Rc<Self> {
        Rc::new(Frame { outer: Some(Rc::clone(self)), who: RefCell::new(who), trace, is_span })
    }

    fn copied(self: &Rc<Self>) -> Rc<Self> {
        let all = Rc::new(Frame { who: RefCell::new(self.says()), ..Frame::default() });
        match self.trace() {
            Some(trace) => all.below(self.around(trace).0, Some((trace, true)), false),
            None => all,
        }
    }
}

impl Model {
    fn begin(&mut self, name: u32, explicit: Who, here: &Rc<Frame>) -> usize {
        let under = here.says();
        self.traces.push(Begun { name, who: or(explicit, under), under });
        self.traces.len() - 1
    }

    /// Whether something of `later` belongs to whom the trace belongs to; fills what is not filled yet.
    fn admits(&mut self, trace: usize, later: Who) -> bool {
        let filled = self.traces[trace].who;
        let same =
            (0..2).all(|slot| filled[slot].is_none() || later[slot].is_none() || filled[slot] == later[slot]);
        if same {
            self.traces[trace].who = or(filled, later);
        }
        same
    }

    /// Where a span is: in the trace around it, or in one of its own.
    fn span(&mut self, name: u32, here: &Rc<Frame>) -> Rc<Frame> {
        let Some(trace) = here.trace() else {
            return Rc::clone(here);
        };
        let (inside, outside) = here.around(trace);
        let under = self.traces[trace].under;
        let changed = [0, 1].map(|slot| outside[slot].filter(|value| under[slot] != Some(*value)));
        if self.admits(trace, or(inside, changed)) {
            self.spans.insert(name, self.traces[trace].name);
            return here.below([None; 2], Some((trace, false)), true);
        }
        let own = self.begin(name, [None; 2], here);
        self.spans.insert(name, name);
        here.below([None; 2], Some((own, true)), false)
    }

    fn set(&mut self, slot: usize, value: u8, here: &Rc<Frame>) {
        let settable = here.layers().find(|frame| !frame.is_span);
        settable.into_iter().for_each(|frame| frame.who.borrow_mut()[slot] = Some(value));
        if let Some(trace) = here.trace() {
            let mut later = [None; 2];
            later[slot] = Some(value);
            self.admits(trace, later);
        }
    }
}

type Shared = Rc<RefCell<Model>>;

/// What a program does to the model. It is polled as the program itself is, so that branches take the same turns.
fn simulate(model: Shared, ops: Vec<Op>, here: Rc<Frame>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let mut destructors = Vec::new();
        let begin = |name, who, here: &Rc<Frame>| model.borrow_mut().begin(name, who, here);
        let inside = |body, here| simulate(Rc::clone(&model), body, here);
        for op in ops {
            match op {
                Op::Scope(who, body) => inside(body, here.below(who, None, false)).await,
                Op::Trace(name, who, body) => {
                    let trace = begin(name, who, &here);
                    inside(body, here.below([None; 2], Some((trace, true)), false)).await;
                }
                Op::Handle(name, who, around, body) => {
                    let trace = begin(name, who, &here);
                    let around = here.below(around, None, false);
                    inside(body, around.below([None; 2], Some((trace, true)), false)).await;
                }
                Op::Span(name, body) => {
                    let here = model.borrow_mut().span(name, &here);
                    inside(body, here).await;
                }
                Op::Set(slot, value) => model.borrow_mut().set(slot, value, &here),
                Op::Spawn(body) => inside(body, here.copied()).await,
                // A scope that is spawned as it is written is cut off from here as what is handed over is.
                Op::Written(name, one, two, _, body) => {
                    let around = here.copied().below(one, None, false).below(two, None, false);
                    let trace = begin(name, [None; 2], &around);
                    inside(body, around.below([None; 2], Some((trace, true)), false)).await;
                }
                // Nothing is recorded there: no client, no scope.
                Op::Bare(_) => {}
                Op::Refused(name, ..) => drop(begin(name, [None; 2], &Rc::default())),
                Op::Join(bodies) => {
                    drop(join_all(bodies.into_iter().map(|body| inside(body, Rc::clone(&here)))).await);
                }
                Op::JoinApart(bodies) => {
                    drop(join_all(bodies.into_iter().map(|body| inside(body, here.copied()))).await);
                }
                Op::Dropped(body) => {
                    let mut future = inside(body, Rc::clone(&here));
                    let _ = poll!(&mut future);
                }
                Op::OnDrop(name) => {
                    destructors.push(Simulated { name, model: Rc::clone(&model), here: Rc::clone(&here) });
                }
                Op::Yield => tokio::task::yield_now().await,
            }
        }
    })
}

struct Simulated {
    name: u32,
    model: Shared,
    here: Rc<Frame>,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.model.borrow_mut().begin(self.name, [None; 2], &self.here);
    }
}

// ---- both

/// Session and user of each trace, and the trace of each span.
type Seen = (BTreeMap<u32, [Option<String>; 2]>, BTreeMap<u32, u32>);

fn seen(traces: &[TraceData]) -> Seen {
    let number = |name: &str| name.parse().unwrap_or_default();
    let whose = |trace: &TraceData| [trace.session_id.clone(), trace.user_id.clone()];
    let of = traces.iter().map(|trace| (number(&trace.name), whose(trace))).collect();
    let spans = traces
        .iter()
        .flat_map(|trace| trace.spans.iter().map(|span| (number(&span.name), number(&trace.name))))
        .collect();
    (of, spans)
}

fn expected(ops: &[Op]) -> Seen {
    let model = Shared::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(simulate(Rc::clone(&model), ops.to_vec(), Rc::default()));
    let model = model.borrow();
    let value = |value: Value| value.filter(|value| *value > 0).map(text);
    let of = model.traces.iter().map(|trace| (trace.name, trace.who.map(value))).collect();
    (of, model.spans.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_trace_and_span_is_whose_the_rules_say(ops in program()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let captured = runtime.block_on(capture(|| run(ops.clone())));
        prop_assert_eq!(seen(&captured.traces), expected(&ops));
    }
}

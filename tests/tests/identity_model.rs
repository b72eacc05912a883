//! Random programs of scopes, traces, spans, `set_*` and spawned tasks, against a small model of the rules that say whose
//! each of them is.

use std::{cell::RefCell, collections::BTreeMap, future::Future, pin::Pin, rc::Rc};

use pandaprobe::{InCurrentScope, Scope, TraceBuilder, TraceData, testing::capture};
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
    Yield,
}

fn who() -> impl Strategy<Value = Who> {
    let value = || option::weighted(0.5, 0..4u8);
    [value(), value()]
}

fn program() -> impl Strategy<Value = Vec<Op>> {
    let leaf = prop_oneof![
        Just(Op::Yield),
        (0..2usize, 0..4u8).prop_map(|(slot, value)| Op::Set(slot, value)),
        Just(Op::Span(0, vec![])),
        who().prop_map(|who| Op::Trace(0, who, vec![])),
    ];
    let op = leaf.prop_recursive(5, 48, 5, |inner| {
        let body = vec(inner, 0..5);
        prop_oneof![
            (who(), body.clone()).prop_map(|(who, body)| Op::Scope(who, body)),
            (who(), body.clone()).prop_map(|(who, body)| Op::Trace(0, who, body)),
            (who(), who(), body.clone()).prop_map(|(who, scope, body)| Op::Handle(0, who, scope, body)),
            body.clone().prop_map(|body| Op::Span(0, body)),
            body.clone().prop_map(Op::Spawn),
            (who(), who(), any::<bool>(), body.clone())
                .prop_map(|(one, two, handed, body)| Op::Written(0, one, two, handed, body)),
            body.prop_map(Op::Bare),
        ]
    });
    vec(op, 1..6).prop_map(|mut ops| {
        number(&mut ops, &mut 0);
        ops
    })
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
            Op::Scope(_, body) | Op::Spawn(body) | Op::Bare(body) => number(body, next),
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
        for op in ops {
            match op {
                Op::Scope(who, body) => scope(who).scope(run(body)).await,
                Op::Trace(name, who, body) => trace(name, who).scope(|_| run(body)).await,
                Op::Handle(name, who, around, body) => {
                    let handle = trace(name, who).start();
                    scope(around).scope(handle.scope(run(body))).await;
                }
                Op::Span(name, body) => pandaprobe::span(name.to_string()).scope(run(body)).await,
                Op::Set(0, value) => pandaprobe::set_session(text(value)),
                Op::Set(_, value) => pandaprobe::set_user(text(value)),
                Op::Spawn(body) => drop(tokio::spawn(run(body).in_current_scope()).await),
                Op::Written(name, one, two, handed, body) => {
                    let inner = trace(name, [None; 2]).scope(|_| run(body));
                    let written = scope(one).scope(scope(two).scope(inner));
                    let task = if handed { pandaprobe::spawn(written) } else { tokio::spawn(written) };
                    drop(task.await);
                }
                Op::Bare(body) => drop(tokio::spawn(run(body)).await),
                Op::Yield => tokio::task::yield_now().await,
            }
        }
    })
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

    fn run(&mut self, ops: &[Op], here: &Rc<Frame>) {
        for op in ops {
            match op {
                Op::Scope(who, body) => self.run(body, &here.below(*who, None, false)),
                Op::Trace(name, who, body) => {
                    let trace = self.begin(*name, *who, here);
                    self.run(body, &here.below([None; 2], Some((trace, true)), false));
                }
                Op::Handle(name, who, around, body) => {
                    let trace = self.begin(*name, *who, here);
                    let around = here.below(*around, None, false);
                    self.run(body, &around.below([None; 2], Some((trace, true)), false));
                }
                Op::Span(name, body) => self.span(*name, body, here),
                Op::Set(slot, value) => self.set(*slot, *value, here),
                Op::Spawn(body) => self.run(body, &here.copied()),
                // A scope that is spawned as it is written is cut off from here as what is handed over is.
                Op::Written(name, one, two, _, body) => {
                    let around = here.copied().below(*one, None, false).below(*two, None, false);
                    let trace = self.begin(*name, [None; 2], &around);
                    self.run(body, &around.below([None; 2], Some((trace, true)), false));
                }
                // Nothing is recorded there: no client, no scope.
                Op::Bare(_) | Op::Yield => {}
            }
        }
    }

    fn span(&mut self, name: u32, body: &[Op], here: &Rc<Frame>) {
        let Some(trace) = here.trace() else {
            return self.run(body, here);
        };
        let (inside, outside) = here.around(trace);
        let under = self.traces[trace].under;
        let changed = [0, 1].map(|slot| outside[slot].filter(|value| under[slot] != Some(*value)));
        if self.admits(trace, or(inside, changed)) {
            self.spans.insert(name, self.traces[trace].name);
            return self.run(body, &here.below([None; 2], Some((trace, false)), true));
        }
        let own = self.begin(name, [None; 2], here);
        self.spans.insert(name, name);
        self.run(body, &here.below([None; 2], Some((own, true)), false));
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
    let mut model = Model::default();
    model.run(ops, &Rc::default());
    let value = |value: Value| value.filter(|value| *value > 0).map(text);
    let of = model.traces.iter().map(|trace| (trace.name, trace.who.map(value))).collect();
    (of, model.spans)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_trace_and_span_is_whose_the_rules_say(ops in program()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let captured = runtime.block_on(capture(|| run(ops.clone())));
        prop_assert_eq!(seen(&captured.traces), expected(&ops));
    }
}

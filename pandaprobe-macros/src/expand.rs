//! From an attribute and a function to the function that records itself.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Expr, Lit, Result, ext::IdentExt, spanned::Spanned};

use crate::{
    arguments::{Arguments, Target, variant},
    function::{Call, Function, Stream},
};

pub(crate) fn expand(target: Target, attribute: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse2::<Function>(item.clone()).and_then(|function| {
        function.check()?;
        let arguments = Arguments::parse(target, attribute)?;
        recorded(target, &arguments, &function)
    });
    // With the item as it is, the error is the only one.
    expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    })
}

/// Lints are allowed in what comes out and not expected: whether one of them fires depends on the function.
fn recorded(target: Target, arguments: &Arguments, function: &Function) -> Result<TokenStream> {
    let krate = arguments.krate.as_ref().map_or_else(|| quote!(::pandaprobe), |path| quote!(#path));
    let parts = Parts {
        builder: builder(target, arguments, function, &krate)?,
        body: typed_body(function, &krate),
        judge: judge(arguments, &krate),
        inner: quote!(#krate::__private),
    };
    let shape = function.shape();
    let body = match &shape.stream {
        Some(stream) => parts.giving_a_stream(shape.call, stream),
        None => parts.giving_a_value(shape.call),
    };
    let body = if function.is_endless() { quote!(match #body {}) } else { body };
    let Function { attributes, visibility, signature, .. } = function;
    Ok(quote! {
        #(#attributes)*
        #[allow(
            clippy::needless_pass_by_value, clippy::large_futures, clippy::manual_async_fn,
            reason = "the function is as its author wrote it"
        )]
        #visibility #signature { #body }
    })
}

/// What the new body is made of.
struct Parts {
    builder: TokenStream,
    body: TokenStream,
    judge: Judge,
    /// Where the functions are that run it.
    inner: TokenStream,
}

impl Parts {
    fn giving_a_value(&self, call: Call) -> TokenStream {
        let Self { builder, body, judge: Judge { value: judge, .. }, inner } = self;
        match call {
            Call::Now => quote!(#inner::decorated_run(#builder, move || #body, #judge)),
            Call::Async => quote!(#inner::decorated_future(#builder, async move #body, #judge).await),
            Call::Future => {
                quote!({ let __pandaprobe = #builder; #inner::decorated_future(__pandaprobe, #body, #judge) })
            }
            Call::BoxedFuture => quote! {{
                let __pandaprobe = #builder;
                ::std::boxed::Box::pin(#inner::decorated_future(__pandaprobe, #body, #judge))
            }},
        }
    }

    /// What it stands for ends with the stream.
    fn giving_a_stream(&self, call: Call, stream: &Stream) -> TokenStream {
        let Self { builder, body, judge: Judge { error: judge, item, .. }, inner } = self;
        let boxed = match &stream.boxed {
            Some(boxed) => quote!(::std::boxed::Box::pin(__pandaprobe_stream) as #boxed),
            None => quote!(__pandaprobe_stream),
        };
        // A result without an error takes the same way.
        let error = quote!(::core::result::Result::<_, ::core::convert::Infallible>);
        let (ok, err) = match stream.is_fallible {
            true => (
                quote!(::core::result::Result::Ok(#boxed)),
                quote!(::core::result::Result::Err(__pandaprobe_error)),
            ),
            false => (boxed.clone(), quote!(match __pandaprobe_error {})),
        };
        let given = |result: TokenStream| {
            quote! {
                match #result {
                    ::core::result::Result::Ok(__pandaprobe_stream) => #ok,
                    ::core::result::Result::Err(__pandaprobe_error) => #err,
                }
            }
        };
        let awaited = |builder: TokenStream, future: TokenStream| {
            let future = match stream.is_fallible {
                true => future,
                false => quote!(async move { #error::Ok(#future.await) }),
            };
            given(quote!(#inner::decorated_future_of_stream(#builder, #future, #judge, #item).await))
        };
        let later = || {
            let given = awaited(quote!(__pandaprobe), quote!(__pandaprobe_future));
            (
                quote!(let __pandaprobe = #builder; let __pandaprobe_future = #body;),
                quote!(async move { #given }),
            )
        };
        match call {
            Call::Now if stream.is_fallible => {
                given(quote!(#inner::decorated_run_of_stream(#builder, move || #body, #judge, #item)))
            }
            Call::Now => quote! {{
                let __pandaprobe = #builder;
                let __pandaprobe_stream = #inner::decorated_stream(__pandaprobe, #body, #item);
                #boxed
            }},
            Call::Async => awaited(builder.clone(), quote!((async move #body))),
            Call::Future => {
                let (first, then) = later();
                quote!({ #first #then })
            }
            Call::BoxedFuture => {
                let (first, then) = later();
                quote!({ #first ::std::boxed::Box::pin(#then) })
            }
        }
    }
}

/// The body, which says what type it has: `?` and `return` must know.
fn typed_body(function: &Function, krate: &TokenStream) -> TokenStream {
    let statements = &function.body.stmts;
    let span = function.body.span();
    let shape = function.shape();
    let is_told = match shape.call {
        Call::Now => shape.stream.is_none_or(|stream| stream.is_fallible),
        Call::Async => true,
        Call::Future | Call::BoxedFuture => false,
    };
    if !is_told {
        return quote_spanned!(span=> { #(#statements)* });
    }
    let given = function.given();
    let hint = quote_spanned! {given.span().resolved_at(Span::mixed_site())=>
        if false {
            return #krate::__private::never::<#given>();
        }
    };
    quote_spanned!(span=> { #hint #(#statements)* })
}

/// The builder of the trace or span, with the arguments captured.
fn builder(
    target: Target,
    arguments: &Arguments,
    function: &Function,
    krate: &TokenStream,
) -> Result<TokenStream> {
    let function_name = function.signature.ident.unraw().to_string();
    let name = arguments.name.as_ref().map_or_else(|| quote!(#function_name), kept);
    let start = match target {
        Target::Trace => quote!(#krate::trace),
        Target::Span => quote!(#krate::span),
    };
    let mut set = Vec::new();
    for (method, value) in
        [(quote!(session_id), &arguments.session_id), (quote!(user_id), &arguments.user_id)]
    {
        set.extend(value.as_ref().map(|value| {
            quote_spanned! {value.span()=>
                let __pandaprobe = match #krate::__private::given(&(#value)) {
                    ::core::option::Option::Some(id) => __pandaprobe.#method(id),
                    ::core::option::Option::None => __pandaprobe,
                };
            }
        }));
    }
    for tag in arguments.tags.iter().flat_map(|tags| &tags.elems).map(kept) {
        set.push(quote_spanned!(tag.span()=> let __pandaprobe = __pandaprobe.tag(#tag);));
    }
    for entry in &arguments.metadata {
        let (key, value) = (&entry.key, &entry.value);
        let value = kept(value);
        set.push(quote_spanned!(value.span()=> let __pandaprobe = __pandaprobe.metadata(#key, #value);));
    }
    if let Some(model) = arguments.model.as_ref().map(kept) {
        set.push(quote_spanned!(model.span()=> let __pandaprobe = __pandaprobe.model(#model);));
    }
    if let Some(kind) = &arguments.kind {
        let kind = match kind {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => {
                    let variant = variant(text);
                    quote!(#krate::SpanKind::#variant)
                }
                other => quote!(#other),
            },
            other => quote!(#other),
        };
        set.push(quote!(let __pandaprobe = __pandaprobe.kind(#kind);));
    }
    let capture = capture(arguments, function, krate)?;
    let client = arguments.client.as_ref().map(kept);
    let client =
        client.map(|client| quote_spanned!(client.span()=> let __pandaprobe = __pandaprobe.client(#client);));
    Ok(quote! {{
        let __pandaprobe = #start(#name);
        #client
        #capture
        #(#set)*
        __pandaprobe
    }})
}

/// A value that an attribute names. An argument is not moved: the body needs it.
fn kept(value: &Expr) -> TokenStream {
    match value {
        Expr::Path(_) | Expr::Field(_) => {
            quote_spanned!(value.span()=> ::core::clone::Clone::clone(&#value))
        }
        _ => quote!(#value),
    }
}

fn capture(arguments: &Arguments, function: &Function, krate: &TokenStream) -> Result<TokenStream> {
    let names = function.names();
    if let Some(unknown) = arguments.skip.iter().find(|skipped| !names.contains(skipped)) {
        let known: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mend = match known.is_empty() {
            true => "it has none; leave `skip` out".to_owned(),
            false => format!("there are `{}`", known.join("`, `")),
        };
        return Err(Error::new(unknown.span(), format!("the function has no argument `{unknown}`; {mend}")));
    }
    let names: Vec<_> = names.into_iter().filter(|name| !arguments.skip.contains(name)).collect();
    if names.is_empty() {
        return Ok(TokenStream::new());
    }
    let keys = names.iter().map(|name| name.unraw().to_string());
    let most = names.iter().map(|name| match *name == "messages" {
        true => quote!(#krate::__private::MAX_CONVERSATION),
        false => quote!(#krate::__private::MAX_ARGUMENT),
    });
    Ok(quote! {
        let __pandaprobe = if #krate::__private::Decorated::is_wanted(&__pandaprobe) {
            #[allow(unused_imports, reason = "the types decide which of them is called")]
            use #krate::__private::{ByDebug as _, ByName as _, BySerialize as _};
            let mut __pandaprobe_arguments = #krate::__private::Arguments::new();
            #(__pandaprobe_arguments.add(
                #keys,
                (&&&#krate::__private::Captured(&#names, #most)).pandaprobe_capture(),
            );)*
            #krate::__private::Decorated::arguments(__pandaprobe, __pandaprobe_arguments.value())
        } else {
            __pandaprobe
        };
    })
}

/// Closures that say what comes out of the function.
struct Judge {
    /// What its value comes to.
    value: TokenStream,
    /// The same, if nothing of a success is captured.
    error: TokenStream,
    /// What the error is of an item of its stream, if it is one.
    item: TokenStream,
}

fn judge(arguments: &Arguments, krate: &TokenStream) -> Judge {
    let inner = quote!(#krate::__private);
    let judged = |given: &TokenStream| {
        quote! {
            #[allow(unused_imports, reason = "the types decide which of them is called")]
            use #inner::{
                ByDebug as _, ByName as _, BySerialize as _, JudgeAny as _, JudgeDebug as _, JudgeDeref as _,
                JudgeError as _, JudgeText as _, JudgeValue as _,
            };
            let __pandaprobe_judged = (&&&&&&#inner::Returned(#given)).pandaprobe_judge();
        }
    };
    let value = judged(&quote!(__pandaprobe_returned));
    let with = |output: TokenStream| {
        quote! {
            |__pandaprobe_returned| {
                #value
                match __pandaprobe_judged {
                    ::core::result::Result::Ok(value) => ::core::result::Result::Ok(#output),
                    ::core::result::Result::Err(text) => ::core::result::Result::Err(text),
                }
            }
        }
    };
    let nothing = with(quote!({
        let _ = value;
        ::core::option::Option::None
    }));
    let captures = arguments.capture_output.as_ref().is_none_or(|capture| capture.value);
    let item = judged(&quote!(__pandaprobe_item));
    Judge {
        value: match captures {
            true => with(quote!(::core::option::Option::Some(
                (&&&#inner::Captured(value, #inner::MAX_ARGUMENT)).pandaprobe_capture()
            ))),
            false => nothing.clone(),
        },
        error: nothing,
        item: quote!(|__pandaprobe_item| {
            #item
            ::core::result::Result::err(__pandaprobe_judged)
        }),
    }
}

//! From an attribute and a function to the function that records itself.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, Expr, Lit, Result, ext::IdentExt, spanned::Spanned};

use crate::{
    arguments::{Arguments, Target, variant},
    function::{Function, Shape},
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
    let builder = builder(target, arguments, function, &krate)?;
    let judge = judge(arguments, &krate);
    let body = typed_body(function);
    let inner = quote!(#krate::__private);
    let body = match function.shape() {
        Shape::Plain => quote!(#inner::decorated_run(#builder, move || #body, #judge)),
        Shape::Async => quote!(#inner::decorated_future(#builder, async move #body, #judge).await),
        Shape::Future => {
            quote!({ let __pandaprobe = #builder; #inner::decorated_future(__pandaprobe, #body, #judge) })
        }
        Shape::BoxedFuture => quote! {{
            let __pandaprobe = #builder;
            ::std::boxed::Box::pin(#inner::decorated_future(__pandaprobe, #body, #judge))
        }},
        Shape::Stream => quote!({ let __pandaprobe = #builder; __pandaprobe.scope_stream(#body) }),
    };
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

/// The body, which says what type it has: `?` and `return` must know.
fn typed_body(function: &Function) -> TokenStream {
    let statements = &function.body.stmts;
    let span = function.body.span();
    if matches!(function.shape(), Shape::Future | Shape::BoxedFuture | Shape::Stream) {
        return quote_spanned!(span=> { #(#statements)* });
    }
    let given = function.given();
    let hint = quote_spanned! {given.span()=>
        #[allow(
            unreachable_code, clippy::diverging_sub_expression, clippy::empty_loop, clippy::let_unit_value,
            reason = "it only says what the type is"
        )]
        if false {
            let __pandaprobe_given: #given = loop {};
            return __pandaprobe_given;
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
    let name = arguments.name.as_ref().map_or_else(|| quote!(#function_name), |name| quote!(#name));
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
    for tag in arguments.tags.iter().flat_map(|tags| &tags.elems) {
        set.push(quote_spanned!(tag.span()=> let __pandaprobe = __pandaprobe.tag(#tag);));
    }
    for entry in &arguments.metadata {
        let (key, value) = (&entry.key, &entry.value);
        set.push(quote_spanned!(value.span()=> let __pandaprobe = __pandaprobe.metadata(#key, #value);));
    }
    for (method, value) in [(quote!(client), &arguments.client), (quote!(model), &arguments.model)] {
        set.extend(
            value
                .as_ref()
                .map(|value| quote_spanned!(value.span()=> let __pandaprobe = __pandaprobe.#method(#value);)),
        );
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
    let capture = capture(target, arguments, function, krate)?;
    Ok(quote! {{
        let __pandaprobe = #start(#name);
        #(#set)*
        #capture
        __pandaprobe
    }})
}

fn capture(
    target: Target,
    arguments: &Arguments,
    function: &Function,
    krate: &TokenStream,
) -> Result<TokenStream> {
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
    let wanted = match (target, &arguments.client) {
        (Target::Trace, Some(_)) => quote!(true),
        (Target::Trace, None) => quote!(<#krate::TraceBuilder as #krate::__private::Decorated>::is_wanted()),
        (Target::Span, _) => quote!(<#krate::SpanBuilder as #krate::__private::Decorated>::is_wanted()),
    };
    Ok(quote! {
        let __pandaprobe = if #wanted {
            #[allow(unused_imports, reason = "the types decide which of them is called")]
            use #krate::__private::{ByDebug as _, ByName as _, BySerialize as _};
            let mut __pandaprobe_arguments = #krate::__private::Arguments::new();
            #(__pandaprobe_arguments.add(#keys, (&&&#krate::__private::Captured(&#names)).pandaprobe_capture());)*
            #krate::__private::Decorated::arguments(__pandaprobe, __pandaprobe_arguments.value())
        } else {
            __pandaprobe
        };
    })
}

/// A closure that says what the function's value comes to.
fn judge(arguments: &Arguments, krate: &TokenStream) -> TokenStream {
    let captures = arguments.capture_output.as_ref().is_none_or(|capture| capture.value);
    let output = match captures {
        true => {
            quote!(::core::option::Option::Some((&&&#krate::__private::Captured(value)).pandaprobe_capture()))
        }
        false => quote!({
            let _ = value;
            ::core::option::Option::None
        }),
    };
    quote! {
        |__pandaprobe_returned| {
            #[allow(unused_imports, reason = "the types decide which of them is called")]
            use #krate::__private::{
                ByDebug as _, ByName as _, BySerialize as _, JudgeAny as _, JudgeDeref as _, JudgeError as _,
                JudgeText as _, JudgeValue as _,
            };
            match (&&&&&#krate::__private::Returned(__pandaprobe_returned)).pandaprobe_judge() {
                ::core::result::Result::Ok(value) => ::core::result::Result::Ok(#output),
                ::core::result::Result::Err(text) => ::core::result::Result::Err(text),
            }
        }
    }
}

//! Answers as its query tells: with `status`, with headers `set=NAME:VALUE|NAME:VALUE` (`'` is a quotation mark), with
//! `n` pieces of `bytes` each, with `declare=1` their length, and with `hold=1` no end.
//! Learnt from it: what the host makes of a response on its way to the client.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let (n, bytes) = (request.number("n", 1) as usize, request.number("bytes", 0) as usize);
    let (length, set) =
        ((n * bytes).to_string(), request.text("set").unwrap_or("").replace('\'', "\""));
    let mut fields: Vec<_> = set.split('|').filter_map(|field| field.split_once(':')).collect();
    if request.text("declare").is_some() {
        fields.push(("content-length", &length));
    }
    let hold = request.text("hold").is_some();
    let response = kit::streamed(kit::fields(&fields), async move |mut answer| {
        for _ in 0..n {
            let text: Vec<u8> = b"etaoin shrdlu\n".iter().copied().cycle().take(bytes).collect();
            answer.write(text).await?;
        }
        if hold {
            kit::sleep(3_600_000).await;
        }
        answer.finish().await
    });
    response.set_status_code(request.number("status", 200) as u16).expect("a valid status");
    Ok(response)
}

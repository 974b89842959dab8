#include "relay.h"

relay_t relay_new(http_own_incoming_body_t in, http_own_outgoing_body_t out) {
    relay_t relay = {.state = BYTES, .in = in, .out = out};
    http_method_incoming_body_stream(http_borrow_incoming_body(in), &relay.from);
    http_method_outgoing_body_write(http_borrow_outgoing_body(out), &relay.to);
    return relay;
}

static void drop_streams(relay_t *relay) {
    streams_input_stream_drop_own(relay->from);
    streams_output_stream_drop_own(relay->to);
}

void relay_break_off(relay_t *relay) {
    if (relay->state == BYTES) {
        drop_streams(relay);
        http_incoming_body_drop_own(relay->in);
        http_outgoing_body_drop_own(relay->out);
    } else if (relay->state == TRAILERS) {
        http_future_trailers_drop_own(relay->trailers);
        http_outgoing_body_drop_own(relay->out);
    }
    relay->state = OVER;
}

static void end_of_bytes(relay_t *relay) {
    // The streams go before the bodies that they belong to.
    drop_streams(relay);
    relay->trailers = http_static_incoming_body_finish(relay->in);
    relay->state = TRAILERS;
}

static void advance_bytes(relay_t *relay) {
    streams_stream_error_t error;
    guest_list_u8_t bytes;
    uint64_t room;
    streams_borrow_output_stream_t to = streams_borrow_output_stream(relay->to);
    if (!streams_method_output_stream_check_write(to, &room, &error)) goto failed;
    relay->full = room == 0;
    if (relay->full) return;
    if (room > 64 * 1024) room = 64 * 1024;
    if (!streams_method_input_stream_read(streams_borrow_input_stream(relay->from), room, &bytes, &error)) {
        if (error.tag != STREAMS_STREAM_ERROR_CLOSED) goto failed;
        end_of_bytes(relay);
        return;
    }
    bool taken = bytes.len == 0 || (streams_method_output_stream_write(to, &bytes, &error) &&
                                    streams_method_output_stream_flush(to, &error));
    guest_list_u8_free(&bytes);
    if (taken) return;
failed:
    streams_stream_error_free(&error);
    relay_break_off(relay);
}

static void advance_trailers(relay_t *relay) {
    http_result_result_option_own_trailers_error_code_void_t got;
    http_borrow_future_trailers_t trailers = http_borrow_future_trailers(relay->trailers);
    if (!http_method_future_trailers_get(trailers, &got)) return;
    if (got.is_err || got.val.ok.is_err) {
        http_result_result_option_own_trailers_error_code_void_free(&got);
        relay_break_off(relay);
        return;
    }
    http_own_trailers_t *all = got.val.ok.val.ok.is_some ? &got.val.ok.val.ok.val : NULL;
    http_error_code_t error;
    if (!http_static_outgoing_body_finish(relay->out, all, &error)) http_error_code_free(&error);
    http_future_trailers_drop_own(relay->trailers);
    relay->state = OVER;
}

void relay_advance(relay_t *relay) {
    if (relay->state == BYTES) advance_bytes(relay);
    if (relay->state == TRAILERS) advance_trailers(relay);
}

bool relay_waits_for(const relay_t *relay, poll_own_pollable_t *pollable) {
    if (relay->state == OVER) return false;
    if (relay->state == TRAILERS) {
        http_borrow_future_trailers_t trailers = http_borrow_future_trailers(relay->trailers);
        *pollable = http_method_future_trailers_subscribe(trailers);
    } else if (relay->full) {
        *pollable = streams_method_output_stream_subscribe(streams_borrow_output_stream(relay->to));
    } else {
        *pollable = streams_method_input_stream_subscribe(streams_borrow_input_stream(relay->from));
    }
    return true;
}

// A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers the
// header `x-plugin`. It moves the bodies itself: relay.c.
#include <string.h>

#include "answer.h"
#include "relay.h"

static bool has_tenant(http_borrow_incoming_request_t request) {
    http_own_fields_t headers = http_method_incoming_request_headers(request);
    guest_string_t name;
    guest_string_set(&name, "x-tenant");
    bool has = http_method_fields_has(http_borrow_fields(headers), &name);
    http_fields_drop_own(headers);
    return has;
}

// Headers that came cannot be changed, but a copy of them can.
static http_own_fields_t copy(http_own_fields_t headers) {
    http_own_fields_t copied = http_method_fields_clone(http_borrow_fields(headers));
    http_fields_drop_own(headers);
    return copied;
}

static bool set(http_own_fields_t headers, const char *key, const char *text) {
    guest_string_t name;
    guest_string_set(&name, key);
    http_field_value_t value = {.ptr = (uint8_t *)text, .len = strlen(text)};
    http_list_field_value_t values = {.ptr = &value, .len = 1};
    http_header_error_t refused;
    return http_method_fields_set(http_borrow_fields(headers), &name, &values, &refused);
}

// Waits until one of them is ready, and lets go of them.
static void wait(poll_own_pollable_t *pollables, size_t count) {
    poll_borrow_pollable_t borrowed[3];
    for (size_t at = 0; at < count; at++) borrowed[at] = poll_borrow_pollable(pollables[at]);
    poll_list_borrow_pollable_t list = {.ptr = borrowed, .len = count};
    guest_list_u32_t ready;
    if (count > 0) {
        poll_poll(&list, &ready);
        guest_list_u32_free(&ready);
    }
    for (size_t at = 0; at < count; at++) poll_pollable_drop_own(pollables[at]);
}

// The same request, to the next component of the chain: as if that were a server named next.host.
static http_own_outgoing_request_t request_like(http_borrow_incoming_request_t request) {
    http_own_outgoing_request_t onward =
        http_constructor_outgoing_request(copy(http_method_incoming_request_headers(request)));
    http_borrow_outgoing_request_t new = http_borrow_outgoing_request(onward);
    http_method_t method;
    http_method_incoming_request_method(request, &method);
    http_method_outgoing_request_set_method(new, &method);
    http_method_free(&method);
    guest_string_t path, authority;
    if (http_method_incoming_request_path_with_query(request, &path)) {
        http_method_outgoing_request_set_path_with_query(new, &path);
        guest_string_free(&path);
    }
    http_scheme_t scheme = {.tag = HTTP_SCHEME_HTTP};
    http_method_outgoing_request_set_scheme(new, &scheme);
    guest_string_set(&authority, "next.host");
    http_method_outgoing_request_set_authority(new, &authority);
    return onward;
}

static void fail(http_own_response_outparam_t out, http_error_code_t error) {
    http_result_own_outgoing_response_error_code_t result = {.is_err = true, .val.err = error};
    http_static_response_outparam_set(out, &result);
    http_error_code_free(&error);
}

// The head of the answer; false and an error if there is none. It may come before the upload is over.
static bool ask(http_own_outgoing_request_t onward, relay_t *upload, http_own_incoming_response_t *answer,
                http_error_code_t *error) {
    http_own_future_incoming_response_t coming;
    if (!outgoing_handler_handle(onward, NULL, &coming, error)) return false;
    http_borrow_future_incoming_response_t future = http_borrow_future_incoming_response(coming);
    http_result_result_own_incoming_response_error_code_void_t got;
    while (!http_method_future_incoming_response_get(future, &got)) {
        relay_advance(upload);
        poll_own_pollable_t pollables[2] = {http_method_future_incoming_response_subscribe(future)};
        wait(pollables, 1 + relay_waits_for(upload, &pollables[1]));
    }
    http_future_incoming_response_drop_own(coming);
    if (got.val.ok.is_err) *error = got.val.ok.val.err;
    else *answer = got.val.ok.val.ok;
    return !got.val.ok.is_err;
}

static void pass_on(http_borrow_incoming_request_t request, http_own_response_outparam_t out) {
    http_own_incoming_body_t in;
    http_own_outgoing_body_t outgoing;
    http_own_outgoing_request_t onward = request_like(request);
    http_method_incoming_request_consume(request, &in);
    http_method_outgoing_request_body(http_borrow_outgoing_request(onward), &outgoing);
    relay_t upload = relay_new(in, outgoing);

    http_own_incoming_response_t came;
    http_error_code_t error;
    if (!ask(onward, &upload, &came, &error)) {
        relay_break_off(&upload);
        fail(out, error);
        return;
    }
    http_borrow_incoming_response_t head = http_borrow_incoming_response(came);
    http_own_fields_t headers = copy(http_method_incoming_response_headers(head));
    if (!set(headers, "x-plugin", "{{name}}")) {
        relay_break_off(&upload);
        http_fields_drop_own(headers);
        http_incoming_response_drop_own(came);
        fail(out, (http_error_code_t){.tag = HTTP_ERROR_CODE_HTTP_RESPONSE_HEADER_SECTION_SIZE});
        return;
    }
    http_own_outgoing_response_t response = http_constructor_outgoing_response(headers);
    http_borrow_outgoing_response_t new = http_borrow_outgoing_response(response);
    http_method_outgoing_response_set_status_code(new, http_method_incoming_response_status(head));
    http_method_incoming_response_consume(head, &in);
    http_method_outgoing_response_body(new, &outgoing);
    relay_t download = relay_new(in, outgoing);
    http_result_own_outgoing_response_error_code_t result = {.is_err = false, .val.ok = response};
    http_static_response_outparam_set(out, &result);

    while (upload.state != OVER || download.state != OVER) {
        relay_advance(&upload);
        relay_advance(&download);
        poll_own_pollable_t pollables[2];
        size_t count = relay_waits_for(&upload, &pollables[0]);
        count += relay_waits_for(&download, &pollables[count]);
        wait(pollables, count);
    }
    http_incoming_response_drop_own(came);
}

void exports_incoming_handler_handle(exports_incoming_handler_own_incoming_request_t request,
                                     exports_incoming_handler_own_response_outparam_t out) {
    http_borrow_incoming_request_t asked = http_borrow_incoming_request(request);
    if (has_tenant(asked)) pass_on(asked, out);
    else answer(out, 400, "text/plain", "this needs the header x-tenant\n");
    http_incoming_request_drop_own(request);
}

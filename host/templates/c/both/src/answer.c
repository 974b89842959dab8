#include "answer.h"

#include <string.h>

static void write_all(http_own_output_stream_t stream, const char *text) {
    streams_stream_error_t broken;
    for (size_t rest = strlen(text), piece; rest > 0; text += piece, rest -= piece) {
        piece = rest < 4096 ? rest : 4096; // the most that this call takes
        guest_list_u8_t bytes = {.ptr = (uint8_t *)text, .len = piece};
        if (!streams_method_output_stream_blocking_write_and_flush(streams_borrow_output_stream(stream),
                                                                   &bytes, &broken)) {
            // A client that has gone away takes nothing any more, and that is all right.
            streams_stream_error_free(&broken);
            return;
        }
    }
}

void answer(http_own_response_outparam_t out, http_status_code_t status, const char *content_type,
            const char *text) {
    http_own_fields_t headers = http_constructor_fields();
    http_field_name_t name;
    guest_string_set(&name, "content-type");
    http_field_value_t value = {.ptr = (uint8_t *)content_type, .len = strlen(content_type)};
    http_header_error_t refused;
    http_method_fields_append(http_borrow_fields(headers), &name, &value, &refused);

    http_own_outgoing_response_t response = http_constructor_outgoing_response(headers);
    http_method_outgoing_response_set_status_code(http_borrow_outgoing_response(response), status);
    http_own_outgoing_body_t body;
    http_method_outgoing_response_body(http_borrow_outgoing_response(response), &body);
    http_own_output_stream_t stream;
    http_method_outgoing_body_write(http_borrow_outgoing_body(body), &stream);
    http_result_own_outgoing_response_error_code_t result = {.is_err = false, .val.ok = response};
    http_static_response_outparam_set(out, &result);

    write_all(stream, text);
    streams_output_stream_drop_own(stream);
    http_error_code_t failed;
    if (!http_static_outgoing_body_finish(body, NULL, &failed)) http_error_code_free(&failed);
}

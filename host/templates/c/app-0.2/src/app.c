// Answers `hello from PATH`, and `/api/time` with JSON.
#define _GNU_SOURCE // asprintf
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"

static bool equal(const guest_string_t *text, const char *other) {
    return text->len == strlen(other) && memcmp(text->ptr, other, text->len) == 0;
}

void exports_incoming_handler_handle(exports_incoming_handler_own_incoming_request_t request,
                                     exports_incoming_handler_own_response_outparam_t out) {
    guest_string_t path = {0};
    http_method_incoming_request_path_with_query(http_borrow_incoming_request(request), &path);
    char *text;
    if (equal(&path, "/api/time")) {
        if (asprintf(&text, "{\"unix\": %lld}\n", (long long)time(NULL)) < 0) abort();
        answer(out, 200, "application/json", text);
    } else {
        if (asprintf(&text, "hello from %.*s\n", (int)path.len, (char *)path.ptr) < 0) abort();
        answer(out, 200, "text/plain", text);
    }
    free(text);
    guest_string_free(&path);
    http_incoming_request_drop_own(request);
}

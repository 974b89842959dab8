#pragma once
#include "guest.h"

// Answers with a text, whole.
void answer(http_own_response_outparam_t out, http_status_code_t status, const char *content_type,
            const char *text);

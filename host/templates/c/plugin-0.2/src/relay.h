#pragma once
#include "guest.h"

// One body on its way through, piece by piece as it comes. Where it breaks on one side, it is broken off on
// the other.
typedef struct {
    enum { BYTES, TRAILERS, OVER } state;
    bool full; // it was room that was missing
    http_own_incoming_body_t in;
    http_own_outgoing_body_t out;
    http_own_input_stream_t from;
    http_own_output_stream_t to;
    http_own_future_trailers_t trailers;
} relay_t;

relay_t relay_new(http_own_incoming_body_t in, http_own_outgoing_body_t out);

// Moves a piece, if there is one and room for it.
void relay_advance(relay_t *relay);

// What it waits for; false if it is over.
bool relay_waits_for(const relay_t *relay, poll_own_pollable_t *pollable);

void relay_break_off(relay_t *relay);

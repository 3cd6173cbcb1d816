// All that is compiled for processors; `processor.py` instantiates it.
#pragma once
#include "field.h"
#include "proposal.h"
#include "splat_lists.h"
#include "splat_tiles.h"

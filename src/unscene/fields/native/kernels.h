// All that is compiled for processors; `processor.py` instantiates it.
#pragma once
#include "field.h"
#include "proposal.h"
